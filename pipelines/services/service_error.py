"""The exception of a request to a service that brought nothing."""


class ServiceError(Exception):
    """A request brought nothing.

    Attributes:
        error_type: one word for a failure row.
        message: what, where and how to mend it.
        passing: whether the same request may succeed later.
        retry_after_seconds: when, if the service said so.
        everything: whether the service would refuse any other request as well, as without a valid key.
    """

    def __init__(
        self,
        error_type: str,
        message: str,
        passing: bool = False,
        retry_after_seconds: float | None = None,
        everything: bool = False,
    ) -> None:
        # All go to Exception.args, which is all that pickle carries from a Beam worker to its launcher.
        super().__init__(error_type, message, passing, retry_after_seconds, everything)
        self.error_type = error_type
        self.message = message
        self.passing = passing
        self.retry_after_seconds = retry_after_seconds
        self.everything = everything

    def __str__(self) -> str:
        return self.message
