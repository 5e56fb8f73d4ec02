"""Typed identifiers and the few physical constants; names carry their unit (`_s`, `_gb`, `_usd`)."""

from __future__ import annotations

from typing import Final

RequestId = str
TaskId = str
WorkerId = str
ModelName = str
#: Hex digest of a task's recipe (see core/cache.py); the name of its artifact on every machine.
Key = str

#: The unit of streaming: deadlines attach to segments of this length (StreamWise section 4.5: the sync
#: model's 3.5 s limit; with whole shots the first frame of its 8 x A100 film comes at 439 s, not 123 s).
SEGMENT_S: Final = 3.5

#: The start of a task that is expected to take less is not said to the head before its end.
QUICK_S: Final = 0.1

HOUR_S: Final = 3600.0
J_PER_KWH: Final = 3.6e6
