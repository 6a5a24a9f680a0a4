"""The company's data, made up: the same rows at every start, for the datasets that the example uses.

Dev has samples with made-up customers: other files, other rows, partly another format. What the report
must say is worked out here a second time, from the same rows and without the pipeline, so that a
run can be judged by its result.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

Stage = Literal["dev", "prod"]
STAGES: tuple[Stage, ...] = ("prod", "dev")

_FIRST_DAY = date(2025, 1, 1)
_DAYS = 365
_SEGMENTS = ("consumer", "public", "retail")
_COUNTRIES = ("DE", "FR", "IT", "NL", "PL", "SE")
_SIZES: Mapping[Stage, tuple[int, int]] = {"prod": (4_000, 320), "dev": (400, 40)}
_RATES = {"EUR": 1.0, "GBP": 1.17, "SEK": 0.088}

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """The rows behind one environment's definitions."""

    orders: list[Row]
    returns: list[Row]
    accounts: list[Row]
    rates: list[Row]
    targets: list[Row]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, (self.orders, self.returns, self.accounts, self.rates, self.targets)))


@dataclass(frozen=True)
class Result:
    """What a report comes to."""

    orders: int
    revenue_eur: float


def made_up(stage: Stage) -> Rows:
    """The rows of an environment, the same ones each time."""
    chance = random.Random(f"the company's {stage}")  # noqa: S311 - for variety, not for secrets
    many_orders, many_accounts = _SIZES[stage]
    accounts = [_account(chance, stage, number) for number in range(many_accounts)]
    orders = [_order(chance, stage, number, chance.choice(accounts)) for number in range(many_orders)]
    returns = [
        {"order_id": order["order_id"], "returned_at": order["ordered_at"] + timedelta(days=chance.randint(2, 30))}
        for order in orders
        if chance.random() < 0.06  # noqa: PLR2004 - about one in sixteen comes back
    ]
    return Rows(orders, returns, accounts, _rates(chance), _targets(chance, many_orders))


def expected(rows: Rows) -> Result:
    """What the report on these rows must come to, worked out row by row."""
    back = {row["order_id"] for row in rows.returns}
    rate = {(row["month"], row["currency"]): row["to_eur"] for row in rows.rates}
    kept = [row for row in rows.orders if row["status"] == "completed" and row["order_id"] not in back]
    revenue = sum(row["amount"] * rate[f"{row['ordered_at']:%Y-%m}", row["currency"]] for row in kept)
    return Result(len(kept), revenue)


def reported(report: Path) -> Result:
    """What a written report comes to, read without pandas."""
    with report.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Result(sum(int(row["orders"]) for row in rows), sum(float(row["revenue_eur"]) for row in rows))


def report_of(lake: Path, stage: Stage) -> Path:
    """Where the report of an environment lies: nobody but this demonstration and the service needs to know."""
    return lake / "sales" / stage / "quarterly_report.csv"


def write_missing(lake: Path) -> int:
    """Write every file that is not there; how many rows that were."""
    written = 0
    for stage in STAGES:
        files = _files(lake, stage, made_up(stage))
        for file, rows in files.items():
            if not file.exists():
                _write(file, rows)
                written += len(rows)
    return written


def _files(lake: Path, stage: Stage, rows: Rows) -> dict[Path, list[Row]]:
    sales, customers, finance = (lake / domain / stage for domain in ("sales", "customers", "finance"))
    return {
        sales / ("orders.parquet" if stage == "prod" else "orders_sample.csv"): rows.orders,
        sales / "returns_emea.csv": rows.returns,
        customers / ("accounts.csv" if stage == "prod" else "made_up_accounts.csv"): rows.accounts,
        finance / "exchange_rates.csv": rows.rates,
        finance / "targets.xlsx": rows.targets,
    }


def _write(file: Path, rows: list[Row]) -> None:
    """One table, whole or not at all."""
    import pandas as pd

    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_stem(f"{file.stem}.unfinished")
    table = pd.DataFrame(rows)
    if file.suffix == ".parquet":
        table.to_parquet(unfinished, index=False)
    elif file.suffix == ".xlsx":
        table.to_excel(unfinished, index=False)
    else:
        table.to_csv(unfinished, index=False)
    unfinished.replace(file)


def _account(chance: random.Random, stage: Stage, number: int) -> Row:
    return {
        "account_id": f"A{number:05}",
        "name": f"{'Made-up' if stage == 'dev' else chance.choice(('Bauer', 'Costa', 'Lind', 'Moreau'))} {number}",
        "segment": chance.choice(_SEGMENTS),
        "country": chance.choice(_COUNTRIES),
    }


def _order(chance: random.Random, stage: Stage, number: int, account: Row) -> Row:
    return {
        "order_id": f"{stage[0].upper()}{number:06}",
        "account_id": account["account_id"],
        "ordered_at": _FIRST_DAY + timedelta(days=chance.randrange(_DAYS)),
        "currency": chance.choices(list(_RATES), weights=[7, 2, 1])[0],
        "amount": round(chance.lognormvariate(5, 0.8), 2),
        "status": chance.choices(["completed", "cancelled", "open"], weights=[90, 7, 3])[0],
    }


def _rates(chance: random.Random) -> list[Row]:
    months = [f"{_FIRST_DAY.year}-{month:02}" for month in range(1, 13)]
    return [
        {"month": month, "currency": currency, "to_eur": round(rate * chance.uniform(0.98, 1.02), 4)}
        for month in months
        for currency, rate in _RATES.items()
    ]


def _targets(chance: random.Random, many_orders: int) -> list[Row]:
    return [
        {
            "quarter": f"{_FIRST_DAY.year}Q{quarter}",
            "segment": segment,
            "target_eur": many_orders * chance.randint(11, 16),
        }
        for quarter in range(1, 5)
        for segment in _SEGMENTS
    ]
