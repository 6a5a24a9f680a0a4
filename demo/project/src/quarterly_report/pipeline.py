"""From orders to the report: what counts, in one currency, by segment, beside its target.

Nothing here knows where data lies or who runs it. ``orders``, ``returns``, ``accounts``, ``rates``,
``targets`` and ``sales.quarterly_report`` are governed; the rest is this project's own.
"""

from typing import Any

import pandas as pd
from kedro.pipeline import Node, Pipeline


def keep_what_counts(orders: pd.DataFrame, returns: pd.DataFrame, counted_status: str) -> pd.DataFrame:
    """Orders that were completed and did not come back, with the month and quarter of their day."""
    counted = orders[(orders["status"] == counted_status) & ~orders["order_id"].isin(returns["order_id"])]
    days = pd.to_datetime(counted["ordered_at"])
    return counted.assign(month=days.dt.strftime("%Y-%m"), quarter=days.dt.to_period("Q").astype(str))


def convert_to_euro(kept_orders: pd.DataFrame, rates: pd.DataFrame) -> pd.DataFrame:
    """Each order in euro, at the rate of its month; an order without a rate is an error."""
    priced = kept_orders.merge(rates, on=["month", "currency"], how="left", validate="many_to_one")
    if priced["to_eur"].isna().any():
        unknown = priced.loc[priced["to_eur"].isna(), ["month", "currency"]].drop_duplicates()
        raise ValueError(f"There is no exchange rate for {unknown.to_dict('records')}.")
    return priced.assign(amount_eur=priced["amount"] * priced["to_eur"])


def put_into_segments(orders_in_euro: pd.DataFrame, accounts: pd.DataFrame) -> pd.DataFrame:
    """Each order with the segment of its account."""
    return orders_in_euro.merge(accounts[["account_id", "segment"]], on="account_id", validate="many_to_one")


def report_by_quarter(segmented: pd.DataFrame, targets: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The report, a row for each quarter and segment, and what to say about it in a line."""
    by_quarter = segmented.groupby(["quarter", "segment"], as_index=False).agg(
        orders=("order_id", "count"), revenue_eur=("amount_eur", "sum")
    )
    report = by_quarter.merge(targets, on=["quarter", "segment"], how="left").round({"revenue_eur": 2})
    reached = report[report["revenue_eur"] >= report["target_eur"]]
    summary = {
        "orders": int(report["orders"].sum()),
        "revenue_eur": round(float(report["revenue_eur"].sum()), 2),
        "targets_reached": len(reached),
        "targets": len(report),
    }
    return report, summary


def create_pipeline() -> Pipeline:
    """The whole way, from what is governed to what is governed."""
    return Pipeline(
        [
            Node(
                keep_what_counts,
                inputs=["orders", "returns", "params:counted_status"],
                outputs="kept_orders",
                name="keep_what_counts",
            ),
            Node(convert_to_euro, inputs=["kept_orders", "rates"], outputs="orders_in_euro", name="convert_to_euro"),
            Node(
                put_into_segments,
                inputs=["orders_in_euro", "accounts"],
                outputs="segmented",
                name="put_into_segments",
            ),
            Node(
                report_by_quarter,
                inputs=["segmented", "targets"],
                outputs=["sales.quarterly_report", "summary"],
                name="report_by_quarter",
            ),
        ]
    )
