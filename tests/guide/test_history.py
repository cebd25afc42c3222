"""What is read of a block, against brute force in pandas."""

import numpy as np
import pandas as pd
import pytest

from remedi_spark.guides.blocks import Block
from remedi_spark.guides.maths.history import LONG, WINDOWS, History, read
from remedi_spark.guides.maths.items import COUNTS, item_sums

HORIZON, T = 7, 100


def rows(seed: int = 0, late: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = 400
    frame = pd.DataFrame(
        {
            "owner_id": [f"o{i}" for i in rng.integers(0, 12, n)], "item": rng.integers(0, 5, n),
            "day": rng.integers(20, 130, n), "lines": rng.integers(1, 4, n).astype(float),
            "amount": rng.gamma(2, 3, n).round(2),
        }
    )  # fmt: skip
    frame["known"] = frame["day"] + (rng.integers(0, 9, n) if late else 0)
    frame["key"] = [hash(owner) for owner in frame["owner_id"].str[1:].astype(int)]
    return frame.groupby(["owner_id", "key", "item", "day", "known"], as_index=False).sum()


def brute(frame: pd.DataFrame, owner: str, item: int) -> dict[str, float]:
    """Read one pair, one row after the other."""
    own = frame[(frame["owner_id"] == owner) & (frame["known"] <= T)]
    pair = own[own["item"] == item]
    age = T - pair["day"]
    days = sorted(set(pair["day"]))
    return {
        "lines": pair["lines"][age < 3 * HORIZON].sum(),
        "short": (pair["lines"] * 0.5 ** (age / HORIZON)).sum(),
        "long": (pair["lines"] * 0.5 ** (age / (LONG * HORIZON))).sum(),
        "days": len(days),
        "since_last": T - days[-1] if days else np.nan,
        "since_first": T - days[0] if days else np.nan,
        "gap": float(np.mean(np.diff(days))) if len(days) > 1 else np.nan,
        "spend": pair["amount"][age < WINDOWS * HORIZON].sum(),
        "window_1": float(((age >= HORIZON) & (age < 2 * HORIZON)).any()),
        "visits": own[T - own["day"] < 3 * HORIZON]["day"].nunique(),
    }


def as_read(frame: pd.DataFrame, owner: str, item: int) -> dict[str, float]:
    block = Block.of(frame, 5)
    got = read(block.history, T, HORIZON)
    o = list(block.ids).index(owner)
    return {
        "lines": got.lines[1][o, item], "short": got.short[o, item], "long": got.long[o, item],
        "days": got.days[o, item], "since_last": got.since_last[o, item], "since_first": got.since_first[o, item],
        "gap": got.gap[o, item], "spend": got.spend[o, item], "window_1": float(got.windows[1][o, item]),
        "visits": got.visits[1][o],
    }  # fmt: skip


def test_reads_each_pair_as_brute_force_does() -> None:
    frame = rows()
    for owner in ("o0", "o3", "o11"):
        for item in range(5):
            assert as_read(frame, owner, item) == pytest.approx(brute(frame, owner, item), nan_ok=True)


def test_what_becomes_known_later_changes_nothing() -> None:
    frame = rows()
    past = frame[frame["known"] <= T]
    assert len(past) < len(frame) and (frame["day"][frame["known"] > T] <= T).any()
    owners = sorted(set(frame["owner_id"]))
    whole, cut = (read(Block.of(one, 5).history, T, HORIZON) for one in (frame, past))
    assert sorted(set(past["owner_id"])) == owners
    for name in ("windows", "lines", "short", "long", "days", "since_last", "spend", "visits", "prices", "season"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(cut, name))


def test_neither_order_of_rows_nor_blocks_change_the_sums() -> None:
    frame = rows()
    mixed = frame.sample(frac=1, random_state=3)
    whole = item_sums(read(Block.of(frame, 5).history, T, HORIZON))
    np.testing.assert_array_equal(whole, item_sums(read(Block.of(mixed, 5).history, T, HORIZON)))
    even = frame["key"] % 2 == 0
    parts = [item_sums(read(Block.of(part, 5).history, T, HORIZON)) for part in (frame[even], frame[~even])]
    np.testing.assert_array_equal(whole, parts[0] + parts[1])


def test_sums_count_who_bought_again() -> None:
    # Owner 0 had the item before and in the last window; owner 1 before; owner 2 in the last window for the first time.
    owner, day = np.array([0, 0, 1, 2]), np.array([T - 10, T - 2, T - 30, T - 1])
    one = np.ones(4)
    history = History(np.arange(3), 1, owner, np.zeros(4, dtype=np.int64), day, day, one, one)
    sums = dict(zip(COUNTS, item_sums(read(history, T, HORIZON))[0], strict=True))
    assert (sums["ever"], sums["before"], sums["again"], sums["first"]) == (3, 2, 1, 1)
    assert (sums["bought_0"], sums["bought_1"], sums["twice"]) == (2, 1, 1)


def test_an_owner_without_any_item_has_an_empty_history() -> None:
    frame = rows()
    alone = pd.DataFrame(
        {"owner_id": ["new"], "key": [99], "item": [None], "day": [50], "known": [50], "lines": [0.0], "amount": [0.0]}
    )
    block = Block.of(pd.concat([frame.astype({"item": object}), alone]), 5)
    got = read(block.history, T, HORIZON)
    place = list(block.ids).index("new")
    assert not got.ever[place].any() and got.visits[:, place].sum() == 0 and np.isnan(got.since_last[place]).all()
