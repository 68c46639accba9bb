"""Lines `topic hex` in, a line of JSON for each out: what pysparkplug makes of a payload, with the births before it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pysparkplug as spb

KINDS: dict[str, Any] = {
    "NBIRTH": spb.NBirth,
    "NDATA": spb.NData,
    "NDEATH": spb.NDeath,
    "DBIRTH": spb.DBirth,
    "DDATA": spb.DData,
    "DDEATH": spb.DDeath,
}


def main() -> None:
    births: dict[str, Any] = {}
    for line in sys.stdin:
        topic, text = line.split()
        _, group, verb, *who = topic.split("/")
        place = "/".join([group, *who])
        try:
            known = births.get(place) if verb.endswith("DATA") else None
            told = KINDS[verb].decode(bytes.fromhex(text), birth=known)
        except (ValueError, KeyError, TypeError) as error:
            print(json.dumps({"topic": topic, "error": f"{type(error).__name__}: {error}"}), flush=True)
            continue
        if verb.endswith("BIRTH"):
            births[place] = told
        metrics = [told.bd_seq_metric] if verb == "NDEATH" else getattr(told, "metrics", ())
        rows = [
            {
                "name": one.name,
                "alias": one.alias,
                "timestamp": one.timestamp,
                "type": one.datatype.name,
                "value": one.value if isinstance(one.value, int | float | str | None) else str(one.value),
                "isHistorical": one.is_historical,
                "isNull": one.is_null,
            }
            for one in metrics
        ]
        said = {"topic": topic, "timestamp": told.timestamp if hasattr(told, "timestamp") else None}
        print(json.dumps({**said, "seq": getattr(told, "seq", None), "metrics": rows}), flush=True)


main()
