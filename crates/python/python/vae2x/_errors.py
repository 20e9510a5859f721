"""Exceptions: `Error` and what it is more closely."""


class Error(Exception):
    """The base of all exceptions of this package."""


class BadRequest(Error, ValueError):
    """What was asked for is impossible or contradicts itself."""


class NotThisModel(Error, ValueError):
    """A file of another model than the one that is expected."""


class BadFile(Error, ValueError):
    """A file that is damaged, of another kind than its name says, or without what is needed."""


class FileError(Error, OSError):
    """The system refused a read or a write; `errno` and `filename` say which."""


class FetchError(Error, OSError):
    """A model hub could not give what was asked of it."""


class MissingFeature(Error, NotImplementedError):
    """A part that this build lacks, or a program that is not installed, such as FFmpeg."""


class OutOfMemory(Error, MemoryError):
    """The work needs more memory than may be used."""


class DeviceError(Error, RuntimeError):
    """A device that is not there, cannot compute what is asked of it, or failed."""


class Cancelled(Error):
    """The work was stopped by its `progress` callback or its `cancel` event."""
