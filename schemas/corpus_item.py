"""Files of what a run was asked for, by which `status` and `verify` know it."""

import pyarrow as pa

from beamscribe.schemas.manifest import FOLDER as BOOKKEEPING
from beamscribe.schemas.table import described, optional, versioned

FOLDER = f"{BOOKKEEPING}/corpus"
SUFFIX, OLD_SUFFIX = ".parquet", ".json"
"""Of files, and of those that versions before wrote: a list of work items."""

VERSION = 1
SCHEMA = versioned(
    [
        described("id", pa.string(), "id of the image or text"),
        described("uri", pa.string(), "where it is, without a query"),
        optional("more", pa.string(), "the other fields of the work item, a JSON list; null where there are none"),
    ],
    VERSION,
)
