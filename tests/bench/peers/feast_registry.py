"""The listing as Feast holds it: data sources in a registry, half of which one group may describe.

Run by Feast's own Python in the folder of its ``feature_store.yaml``; the number of entries is the argument.
"""

from __future__ import annotations

import sys

from feast import FeatureStore, FileSource, Project
from feast.data_source import DataSource
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import GroupBasedPolicy


def main(number: int) -> None:
    analysts, describe = GroupBasedPolicy(groups=["analysts"]), [AuthzedAction.DESCRIBE]
    sources = [
        FileSource(
            name=f"{('people', 'sales')[place % 2]}_orders_{place:05}",
            path=f"s3://lake/orders_{place:05}.parquet",
            timestamp_field="at",
            description=f"Orders of part {place}",
        )
        for place in range(number)
    ]
    FeatureStore(repo_path=".").apply(
        [
            Project(name="bench"),
            *sources,
            Permission(name="project", types=[Project], policy=analysts, actions=describe),
            Permission(name="sales", types=[DataSource], name_patterns=["sales_.*"], policy=analysts, actions=describe),
        ]
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
