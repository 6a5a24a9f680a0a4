"""Ledgers made for tests: many rows, quickly, as the service would have written them, and sealed now and then."""

from __future__ import annotations

import psycopg

from tests.owning import libpq

#: Rows that look like a service's: leases mostly, some refusals and changes; a second for every twenty rows.
_ROWS = """
    INSERT INTO ledger (
      id, at, event, outcome, subject, issuer, subject_state, address, client, credential, request_id, receipt,
      revision, environment, project, purpose, run, datasets, policies, decided_sha256, evaluator, details
    )
    SELECT
      (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5('row ' || n), 1, 3)
        || 'a' || substr(md5('row ' || n), 4, 15))::uuid,
      at,
      (ARRAY['lease.served', 'catalog.served', 'lease.served', 'access.denied', 'use.reported'])[n %% 5 + 1],
      CASE WHEN n %% 5 = 3 THEN 'denied' ELSE 'allowed' END,
      'user:person' || n %% 97, 'corp', md5('state ' || n %% 97), '192.0.2.' || n %% 250, 'kedro-muniment/1.0', 'token',
      md5('request ' || n)::uuid, md5('receipt ' || n)::uuid, n / 1000, 'prod', 'close', 'close the month',
      CASE WHEN n %% 5 = 4 THEN 'run ' || n / 100 END,
      ARRAY['sales.orders_' || n %% 40, 'sales.returns'], ARRAY['policy_' || n %% 12],
      md5('decided ' || n) || md5('' || n), '7',
      jsonb_build_object('until', at + interval '12 hours', 'number', n, 'share', n / 7.0)
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
      LATERAL (
        SELECT date_trunc('milliseconds', now() - interval '30 seconds' + n %% 20000 * interval '1 millisecond') AS at
      ) AS moments
"""


def fill(url: str, first: int, last: int) -> None:
    """Add the rows of these numbers, in one transaction, told as of just now."""
    with psycopg.connect(libpq(url)) as connection:
        connection.execute("SELECT ledger_partition(now()::date)")
        connection.execute("SELECT ledger_partition((now() - interval '1 minute')::date)")
        connection.execute(_ROWS, {"first": first, "last": last})
