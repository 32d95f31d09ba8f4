"""What the tables assume about use. Everything else comes from the prices and the stages."""

HOURS = 730
SECONDS = HOURS * 3600
"""A month."""
DATABASE_GB = 10
"""Size of the database, for storage and backups; Aurora bills at least 10 GB."""
DAILY_CHANGE = 0.1
"""Share of the database that changes in a day."""
CALLS_PER_UPLOAD = 3
"""Start, complete, and one download."""
READS_PER_UPLOAD = 4
"""S3 requests besides the PUT: HEAD and first bytes by `complete`, HEAD by the event, the download."""
FUNCTION_SECONDS = 0.03
"""Duration of a call."""
LOG_KB_PER_CALL = 1.2
DATABASE_IO_PER_UPLOAD = 10
TRACE_SHARE = 0.05
"""X-Ray's default rule also samples the first request of each second."""
PREVIEW_SECONDS = 2.0
"""Duration of the preview of a photo, start of the decoder included."""
PREVIEW_S3_PUTS, PREVIEW_S3_GETS = 4, 25
"""S3 requests of a preview: marker, two images and result; the size, 20 blocks of a photo of 10 MB, the result."""
SWEEP_SECONDS = 2.0
SWEEP_MINUTES = 15
POLLS_IN_PARALLEL = 5
POLL_SECONDS = 20
"""Lambda polls an empty queue with this number of requests, each of which waits this long."""
DAILY_STARTS = 1
"""How often the schedules start a database that pauses."""
AWAKE_MINUTES = 8
"""How long it then runs: the work, and five minutes without a connection."""
AWAKE_CAPACITY_UNITS = 1
SECRET_CALL_SECONDS = 300
"""A running instance reads the secrets again after this time."""
KEPT_SNAPSHOTS = 2
"""The live version of the Api function and the one before."""
FILE_MB = 10
