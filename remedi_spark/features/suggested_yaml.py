"""The text of a suggested configuration, with the reason for each part beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from remedi_spark.features.expressions import slug

if TYPE_CHECKING:
    from remedi_spark.features.profile import ColumnProfile, Profile
    from remedi_spark.features.suggest import Label

MONTH = 28
AMOUNTS, LEVELS, IDS = 4, 3, 3
"""Columns of each kind that the draft uses."""
TOP = 12
"""Levels of a column that become groups."""
RELATED = 25
"""Levels beside the label's own."""


def suggested_yaml(
    events: str, entity: str, time: str, arrival: str | None, found: Profile, label: Label | None
) -> str:
    """Return the configuration."""
    windows = [days for days in (7, MONTH, 84) if days <= max(7, found.span // 4)]
    horizon = min(MONTH, max(1, found.span // 8))
    long = windows[-1]
    lines = [
        f"# Suggested from {found.rows:,} events of about {found.owners:,} owners, {found.first} to {found.last}.",
        "# It runs as it is: remedi run --config FILE. Edit what you know better.",
        "root: run/suggested",
        "features:",
        f"  entity: {_text(entity)}",
        "  sources:",
        "    events:",
        f"      {'path' if _is_path(events) else 'table'}: {_text(events)}",
        f"      event_time: {_text(time)}",
        *(
            [f"      arrival_time: {_text(arrival)} # by its name; what arrived later is not seen before"]
            if arrival
            else []
        ),
        f"  # A quarter of the {found.span} days at most, so that the first snapshots have their history.",
        f"  windows: {windows}",
        *_label(label, horizon, found),
        "  snapshots:",
        f"    every_days: {7 if found.span > 70 else 1}",
        f"    history_days: {min(56, long)}",
        "  groups:",
        *_total(found, windows),
        *_negatives(found, long),
        *_category(found, label, windows),
        *_levels(found, label, long),
        *_calendar(found, long),
    ]
    return "\n".join(lines) + "\n"


def _label(label: Label | None, horizon: int, found: Profile) -> list[str]:
    lines = ["  label:", "    source: events"]
    if label is None:
        lines.insert(
            0, "  # Nothing was named with --label column=value: any event at all. Name what you want to predict."
        )
    else:
        lines += [f"    column: {_text(label.column)}", f"    category: {_text(label.category)}"]
    if label is not None and label.parent is not None:
        lines.append(f"    parent: {_text(label.parent)} # the finest column with one value for all of the category")
    return [*lines, f"    horizon_days: {horizon} # at most an eighth of the {found.span} days"]


def _total(found: Profile, windows: list[int]) -> list[str]:
    long, recent = windows[-1], windows[1:] or windows
    measures = [
        "count: {aggregate: count}",
        "days: {aggregate: active_days}",
        f"gap_mean: {{aggregate: gap_mean, windows: [{long}]}}",
        f"gap_max: {{aggregate: gap_max, windows: [{long}]}}",
        "days_since_last: {aggregate: days_since_last}",
        "days_since_first: {aggregate: days_since_first}",
    ]
    if len(windows) > 1:
        measures.append(f"trend: {{aggregate: trend, windows: [{windows[-2]}, {long}]}}")
    for place, one in enumerate(found.amounts[:AMOUNTS]):
        name, of = slug(one.name), _of(one)
        measures.append(f"{name}_sum: {{aggregate: sum, of: {of}{'' if not place else f', windows: {recent}'}}}")
        if not place:
            measures += [f"{name}_{a}: {{aggregate: {a}, of: {of}, windows: [{long}]}}" for a in ("mean", "std", "max")]
            measures.append(f"{name}_last: {{aggregate: last, of: {of}, windows: [{long}]}}")
    ids = sorted(found.ids, key=lambda one: -one.distinct)[:IDS]
    measures += [
        f"{slug(one.name)}_distinct: {{aggregate: distinct, of: {_of(one)}, windows: {recent}}}" for one in ids
    ]
    why = f"a usual owner has events on {found.active_days:.0f} days"
    return [*_group("total", f"all events; {why}"), "      measures:", *(f"        {measure}" for measure in measures)]


def _negatives(found: Profile, long: int) -> list[str]:
    below = next((one for one in found.amounts if one.negative), None)
    if below is None:
        return []
    return [
        *_group(f"{slug(below.name)}_below_0", f"{below.negative:,} values of {below.name} are negative: returns?"),
        f"      where: {_text(f'{_name(below.name)} < 0')}",
        f"      measures: {{count: {{aggregate: count, windows: [{long}]}}}}",
    ]


def _category(found: Profile, label: Label | None, windows: list[int]) -> list[str]:
    if label is None:
        return []
    wide = [*windows[1:], min(2 * windows[-1], 365)] if len(windows) > 1 else windows
    far = wide[-1]
    amount = found.amounts[0] if found.amounts else None
    ids = [one for one in found.ids if one.name != label.column]
    measures = [
        f"count: {{aggregate: count, windows: {sorted({windows[0], *wide})}}}",
        f"days: {{aggregate: active_days, windows: {wide}}}",
        f"gap_mean: {{aggregate: gap_mean, windows: [{far}]}}",
        "days_since_last: {aggregate: days_since_last}",
        f"trend: {{aggregate: trend, windows: [{wide[0]}, {far}]}}" if wide[0] < far else "",
        f"share: {{aggregate: share, within: total, windows: [{far}]}}",
        f"sum: {{aggregate: sum, of: {_of(amount)}, windows: {wide}}}" if amount else "",
        *(f"{slug(one.name)}_distinct: {{aggregate: distinct, of: {_of(one)}, windows: [{far}]}}" for one in ids[:1]),
    ]
    own = f"{_name(label.column)} = {{category}}"
    lines = [
        *_group("category", "what is predicted: the nearest thing to it is itself"), f"      where: {_text(own)}",
        "      measures:", *(f"        {measure}" for measure in measures if measure),
    ]  # fmt: skip
    if label.parent is None:
        return lines
    inside = f"{_name(label.parent)} = {{parent}}"
    return [
        *lines,
        *_group("parent", f"all of the category's {label.parent}"),
        f"      where: {_text(inside)}",
        "      measures:",
        "        count: {aggregate: count}",
        *([f"        sum: {{aggregate: sum, of: {_of(amount)}, windows: {wide[:-1] or wide}}}"] if amount else []),
        f"        share: {{aggregate: share, within: total, windows: [{windows[-1]}]}}",
        "        days_since_last: {aggregate: days_since_last}",
        *_group("related", f"its other values of {label.column}"),
        f"      where: {_text(f'{inside} AND {_name(label.column)} <> {{category}}')}",
        f"      each: {_text(label.column)}",
        f"      top: {RELATED}",
        f"      measures: {{count: {{aggregate: count, windows: [{windows[-1]}]}}}}",
    ]


def _levels(found: Profile, label: Label | None, long: int) -> list[str]:
    lines: list[str] = []
    amount = found.amounts[0] if found.amounts else None
    for one in [one for one in found.levels if label is None or one.name != label.column][:LEVELS]:
        lines += [
            *_group(f"by_{slug(one.name)}", f"about {one.distinct:,} levels; the most frequent ones"),
            f"      each: {_text(one.name)}",
            f"      top: {min(TOP, one.distinct)}",
            "      measures:",
            f"        count: {{aggregate: count, windows: [{long}]}}",
            *([f"        sum: {{aggregate: sum, of: {_of(amount)}, windows: [{long}]}}"] if amount else []),
        ]
    return lines


def _calendar(found: Profile, long: int) -> list[str]:
    if found.active_days < 7:
        return []
    return [
        *_group("weekday", "enough days for habits of the week"),
        "      calendar: weekday",
        f"      measures: {{share: {{aggregate: share, within: total, windows: [{long}]}}}}",
    ]


def _group(name: str, why: str) -> list[str]:
    return [f"    {name}: # {' '.join(why.split())}", "      source: events"]


def _of(one: ColumnProfile) -> str:
    return _text(one.name)


def _name(column: str) -> str:
    """Return a column as a part of an SQL condition."""
    return "`" + column.replace("`", "``") + "`"


def _text(value: str) -> str:
    """Return text as YAML: JSON strings are."""
    return json.dumps(value, ensure_ascii=False)


def _is_path(events: str) -> bool:
    return "/" in events or events.endswith((".csv", ".parquet"))
