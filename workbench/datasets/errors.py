"""What can go wrong with a dataset.

Invalid
├── FileRefused            the file is not what it should be
├── MappingRefused         the columns are not what they should be
└── EmptySplit             there is nothing to train on or to test with
NotFound
├── DatasetNotFound
├── VersionNotFound
└── RowNotFound
Conflict
├── NameTaken
├── StaleParent
└── NothingChanged
WorkbenchError
└── DamagedStoreError      a stored file is missing, changed or of a newer format
"""

from workbench.core.errors import Conflict, Invalid, NotFound, WorkbenchError


class FileRefused(Invalid):
    """The file cannot be read as a dataset."""

    code = "dataset.file_refused"


class MappingRefused(Invalid):
    """The prompt and completion columns cannot be told."""

    code = "dataset.mapping_refused"


class EmptySplit(Invalid):
    """This split has no rows."""

    code = "dataset.empty_split"


class DatasetNotFound(NotFound):
    """No such dataset."""

    code = "dataset.not_found"


class VersionNotFound(NotFound):
    """No such version of a dataset."""

    code = "dataset.version_not_found"


class RowNotFound(NotFound):
    """No such row."""

    code = "dataset.row_not_found"


class NameTaken(Conflict):
    """You already have a dataset of this name."""

    code = "dataset.name_taken"


class StaleParent(Conflict):
    """The dataset has a newer version than the one this change starts from."""

    code = "dataset.stale_parent"


class NothingChanged(Conflict):
    """The new version would equal its parent."""

    code = "dataset.nothing_changed"


class DamagedStoreError(WorkbenchError):
    """A stored file of this dataset cannot be read."""

    code = "dataset.store_damaged"
