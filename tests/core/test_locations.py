"""Locations are prefixes that nothing steps out of."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muniment.core.locations import (
    Location,
    canonical_path,
    check_overlaps,
    inside,
    overlapping,
    parse_location,
    reach,
    safe_in_path,
)
from muniment.core.problems import Invalid

LAKE = parse_location("s3://lake/sales/")

SEGMENT = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.=@+:() -]{0,8}[A-Za-z0-9_]", fullmatch=True).filter(
    lambda segment: "::" not in segment
)
ROOT = st.sampled_from(
    ["s3://lake/", "gs://lake/", "abfs://container/", "abfss://data@lake.dfs.core.windows.net/", "file:///", "/srv/"]
)
PATH = st.builds(
    lambda root, segments, end: root + "/".join(segments) + end,
    ROOT,
    st.lists(SEGMENT, min_size=1, max_size=5),
    st.sampled_from(["", "/"]),
)
LOCATION = PATH.map(lambda path: parse_location(path.removesuffix("/") + "/"))

HOSTILE = [
    "s3://lake/sales/../finance/pay.csv",
    "s3://lake/sales/..",
    "s3://lake/sales/./orders.csv",
    "s3://lake/sales//orders.csv",
    "s3://lake/sales/%2e%2e/finance/pay.csv",
    "s3://lake/sales/..%2ffinance",
    "s3://lake/sales/*.csv",
    "s3://lake/sales/orders[0].csv",
    "s3://lake/sales/{a,b}.csv",
    "s3://lake/sales/orders.csv?versionId=1",
    "s3://lake/sales/orders.csv#x",
    "s3://lake/sales\\..\\finance",
    "s3://lake/sales/\x00orders.csv",
    "s3://lake/sales/orders\n.csv",
    "s3://lake/sales/\u202eorders.csv",
    "s3://lake/sales/\u200borders.csv",
    "s3://lake/sales/e\u0301.csv",
    "s3://lake/sales/ /orders.csv",
    "s3://lake/sales/.. /orders.csv",
    "s3://lake/sales/~root/x",
    "s3://lake/sales/$HOME/x",
    "s3://lake/sales/a,/etc/passwd",
    "s3://lake/salesforce/orders.csv",
    "s3://lake/sales",
    "S3://lake/sales/orders.csv",
    "s3a://lake/sales/orders.csv",
    "s3://key:secret@lake/sales/orders.csv",
    "s3://evil@lake/sales/orders.csv",
    "s3://lake:9000/sales/orders.csv",
    "s3:///lake/sales/orders.csv",
    "s3:/lake/sales/orders.csv",
    "simplecache::s3://lake/sales/orders.csv",
    "zip://a.csv::s3://lake/sales/a.zip",
    "https://lake/sales/orders.csv",
    "file://host/lake/sales/x",
    "file:/lake/sales/x",
    "memory://lake/sales/x",
    "../lake/sales/x",
    "~/lake/sales/x",
    "C:/lake/sales/x",
    "\\\\server\\lake\\sales",
    "",
    "s3://",
    "s3://lake",
    "s3://../sales/x",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_path_is_never_inside(path):
    assert not inside(path, [LAKE, parse_location("file:///lake/sales/")])


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("/srv/lake/x.csv", "file:///srv/lake/x.csv"),
        ("file:///srv/lake/x.csv", "file:///srv/lake/x.csv"),
        ("s3://lake/sales/year=2024/x.csv", "s3://lake/sales/year=2024/x.csv"),
        ("abfss://data@lake.dfs.core.windows.net/x", "abfss://data@lake.dfs.core.windows.net/x"),
        ("project://data/01_raw/x.csv", "project://data/01_raw/x.csv"),
        ("s3://lake/", "s3://lake/"),
        ("s3://lake/Zürich/x.csv", "s3://lake/Zürich/x.csv"),
    ],
)
def test_a_path_has_one_spelling(written, canonical):
    assert canonical_path(written) == canonical


@pytest.mark.parametrize(
    "text", ["project://conf/local/credentials.yml", "project://src/x/settings.py", "project://", "project://data",
             "project:///data/x", "project://DATA/x", "project://data/../conf/x.yml", "project://database/x"],
)  # fmt: skip
def test_of_a_project_only_its_data_folder_can_be_reached(text):
    with pytest.raises(Invalid):
        canonical_path(text)


def test_a_relative_path_outside_data_is_answered_with_one_inside():
    with pytest.raises(Invalid, match=r"write project://data/conf/x\.yml"):
        canonical_path("conf/x.yml")


def test_a_relative_path_is_refused_with_the_words_to_use():
    with pytest.raises(Invalid, match=r"project://data/01_raw/x\.csv"):
        canonical_path("data/01_raw/x.csv")


def test_another_spelling_of_a_scheme_is_refused_with_the_one_to_use():
    with pytest.raises(Invalid, match="Write s3://"):
        canonical_path("s3n://lake/x.csv")
    with pytest.raises(Invalid, match="Write gs://"):
        canonical_path("gcs://lake/x.csv")


def test_an_account_cannot_follow_a_container_in_abfs_because_kedro_drops_the_container():
    with pytest.raises(Invalid, match="abfss://container@account"):
        canonical_path("abfs://data@lake.dfs.core.windows.net/x.csv")


@pytest.mark.parametrize("text", ["s3://lake/sales", "file:///", "/", "project://data/", "s3://lake", "lake/sales/"])
def test_what_is_no_folder_of_a_storage_is_no_location(text):
    with pytest.raises(Invalid):
        parse_location(text)


def test_a_whole_bucket_can_be_a_location():
    assert inside("s3://lake/anything.csv", [parse_location("s3://lake/")])


@given(PATH)
def test_canonical_paths_stay_as_they_are(path):
    assert canonical_path(canonical_path(path)) == canonical_path(path)


@given(LOCATION)
def test_a_locations_text_reads_back_as_the_location(location):
    assert parse_location(location.url) == location


@given(st.text(), LOCATION)
def test_inside_means_that_the_text_begins_with_the_location(path, location):
    if inside(path, [location]):
        assert canonical_path(path).startswith(location.url)


@given(LOCATION, st.text(max_size=30))
def test_whatever_follows_a_location_cannot_lead_out_of_it(location, rest):
    path = location.url + rest
    if inside(path, [location]):
        _, _, where = canonical_path(path).partition("://")
        _, _, root = location.url.partition("://")
        assert (posixpath.normpath(where) + "/").startswith(root)


@given(LOCATION, st.lists(SEGMENT, min_size=1, max_size=4))
def test_what_lies_below_a_location_is_inside(location, segments):
    assert inside(location.url + "/".join(segments), [location])


@given(LOCATION, LOCATION)
def test_overlapping_is_mutual_and_holds_where_one_lies_in_the_other(one, other):
    assert overlapping(one, other) == overlapping(other, one)
    assert overlapping(one, one)
    if inside(one.url, [other]):
        assert overlapping(one, other)


def test_folders_that_differ_in_case_only_overlap():
    assert overlapping(parse_location("/srv/Lake/"), parse_location("/srv/lake/sales/"))


def test_a_container_overlaps_whichever_way_its_account_is_said():
    assert overlapping(parse_location("abfs://data/x/"), parse_location("abfss://data@lake.dfs.core.windows.net/x/"))


def test_locations_of_different_branches_must_not_overlap_and_those_of_one_branch_may():
    faults = check_overlaps(
        {
            "sales": [parse_location("s3://lake/sales/")],
            "sales.emea": [parse_location("s3://lake/sales/emea/")],
            "finance": [parse_location("s3://lake/sales/emea/fees/")],
        }
    )
    assert [fault.at for fault in faults] == ["domains.sales.locations", "domains.sales.emea.locations"]
    assert "finance" in faults[0].message


def test_names_that_begin_alike_are_different_branches():
    assert check_overlaps({"sales": [LAKE], "salesforce": [LAKE]})


def test_a_domain_reaches_its_own_and_its_ancestors_locations_and_no_siblings():
    of = {
        "sales": [LAKE],
        "sales.emea": [parse_location("s3://lake/sales/emea/")],
        "sales.apac": [parse_location("s3://lake/sales/apac/")],
        "sales.apac.japan": [parse_location("s3://lake/sales/apac/japan/")],
    }
    usable, foreign = reach("sales.apac", of)
    assert set(usable) == {LAKE, Location("s3://lake/sales/apac/")}
    assert set(foreign) == {Location("s3://lake/sales/emea/")}


@given(st.text(max_size=20))
def test_a_value_that_is_safe_in_a_path_cannot_change_where_it_leads(value):
    if safe_in_path(value):
        assert inside(f"s3://lake/sales/{value}/x.csv", [LAKE])
        assert inside(f"s3://lake/sales/.{value}", [LAKE])


@pytest.mark.parametrize("value", ["..", ".", "a/b", "", "a..b", "-", "%2e", 7, None, "a b"])
def test_a_value_that_could_lead_elsewhere_is_not_safe_in_a_path(value):
    assert not safe_in_path(value)
