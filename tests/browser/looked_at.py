"""Every page that somebody can look at, and who looks at it: the first of them with all that a browser can find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """One page: what its pictures are called, where it is, and who looks at it."""

    name: str
    path: str
    people: tuple[str, ...] = ("ann",)
    #: Whether it says something else each time: that it was looked at.
    moves: bool = False

    def at(self, filled: Mapping[str, str]) -> str:
        """The address, with the ids that chance has made."""
        path = self.path
        for name, value in filled.items():
            path = path.replace(f"{{{name}}}", value)
        return path


LOOKS = (
    Look("start", "/", ("ann", "sam", "audrey", "root")),
    Look("my-things", "/account"),
    Look("my-access", "/account/access", ("ann", "audrey")),
    Look("my-use", "/account/use", ("ann", "audrey")),
    Look("notices", "/notices", ("sam",)),
    Look("how-i-am-told", "/notices/choose", ("sam",)),
    # datasets
    Look("datasets", "/datasets", ("ann", "sam")),
    Look("datasets-searched", "/datasets?search=orders"),
    Look("dataset", "/datasets/sales.orders", ("ann", "sam")),
    Look("dataset-to-ask-for", "/datasets/sales.targets", ("ann",)),
    Look("dataset-pattern", "/datasets/sales.%7Bregion%7D_orders", ("sam",)),
    Look("dataset-history", "/datasets/sales.orders/history", ("sam",)),
    Look("dataset-lineage", "/datasets/sales.orders/lineage", ("ann",)),
    Look("dataset-use", "/datasets/sales.orders/use", ("sam",)),
    Look("dataset-access", "/datasets/sales.orders/access?environment=dev", ("sam",)),
    Look("dataset-consumers", "/datasets/sales.orders/consumers", ("sam",)),
    # requests
    Look("requests", "/requests", ("ann",)),
    Look("requests-waiting", "/requests?which=waiting", ("sam",)),
    Look("request-new", "/requests/new?dataset=sales.targets&action=save&environment=prod", ("ann",)),
    Look("request", "/requests/{request}", ("sam", "ann")),
    Look("request-deputy", "/requests/deputy", ("sam",)),
    # rules
    Look("policies", "/policies", ("sam", "root")),
    Look("policy", "/policies/analysts-read-targets", ("root",)),
    Look("policy-new", "/policies/new?scope=sales", ("sam",)),
    Look("policy-edit", "/policies/analysts-read-targets/edit", ("root",)),
    Look("policy-cedar", "/policies/analysts-read-targets/edit?as=cedar", ("root",)),
    Look("policy-sentence", "/policies/analysts-read-targets/edit?as=sentence", ("root",)),
    Look("policy-history", "/policies/analysts-read-targets/history", ("root",)),
    Look("policy-end", "/policies/analysts-read-targets/end", ("root",)),
    Look("grant", "/policies/grants/ann-loads-leads", ("sam",)),
    Look("grant-new", "/policies/grants/new", ("sam",)),
    Look("grant-sentence", "/policies/grants/ann-loads-leads/edit?as=sentence", ("sam",)),
    Look("grant-end", "/policies/grants/ann-loads-leads/end", ("sam",)),
    Look("groups", "/policies/groups", ("root",)),
    Look("group-new", "/policies/groups/new", ("root",)),
    Look("grant-edit", "/policies/grants/ann-loads-leads/edit", ("sam",)),
    Look("reviews", "/reviews", ("root", "sam")),
    Look("leavers", "/reviews/leavers", ("root",)),
    Look("leaver", "/reviews/leavers/user:ann", ("root",)),
    # declaring
    Look("declare", "/declare", ("sam",)),
    Look("declare-dataset", "/declare/sales.orders", ("sam",)),
    Look("declare-new", "/declare/sales.new?type=pandas.SQLQueryDataset", ("sam",)),
    Look("declare-import", "/declare/import", ("sam",)),
    Look("declare-lifecycle", "/declare/sales.orders/lifecycle", ("sam",)),
    Look("domains", "/declare/domains", ("root",)),
    Look("domain", "/declare/domains/sales", ("root",)),
    Look("environments", "/declare/environments", ("root",)),
    Look("environment", "/declare/environments/dev", ("root",)),
    # audit
    Look("audit", "/audit", ("audrey",), moves=True),
    Look("audit-found", "/audit/find?search=every+order", ("audrey",)),
    Look("audit-row", "/audit/rows/{row}", ("audrey",)),
    Look("audit-decision", "/audit/rows/{row}/decision", ("audrey",)),
    Look("audit-readers", "/audit/readers?dataset=sales.orders", ("audrey",)),
    Look("audit-charts", "/audit/charts", ("audrey",)),
    Look("audit-unusual", "/audit/unusual", ("audrey",)),
    Look("audit-about", "/audit/about/subject/user:ann", ("audrey",), moves=True),
    Look("audit-past", "/audit/past", ("audrey",)),
    Look("audit-views", "/audit/views", ("audrey",)),
    # projects
    Look("project-new", "/projects/new", ("ann",)),
    Look("project-offer", "/projects/offer", ("root",)),
)
#: Where nothing is, or nothing that one may know of.
NOWHERE = ("/datasets/hr.salaries", "/datasets/hr.nothing", "/requests/00000000-0000-7000-8000-000000000000")
