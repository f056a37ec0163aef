"""HTTP's `Retry-After`: how long a server wants to be left alone."""

import datetime
import email.utils


def retry_after_seconds(header: str | None, now: datetime.datetime | None = None) -> float | None:
    """Seconds to wait; None if the server does not say, or not in a way that can be read.

    Args:
        header: a number of seconds or an HTTP date (RFC 9110, section 10.2.3).
        now: the time that a date is counted from.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isdecimal():
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - (now or datetime.datetime.now(datetime.UTC))).total_seconds())
