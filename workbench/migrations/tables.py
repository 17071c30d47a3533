"""Every table of the product, for Alembic to compare with."""

from workbench.accounts import tables as accounts
from workbench.chat import tables as chat
from workbench.core import tables as core
from workbench.core.database import Base
from workbench.datasets import tables as datasets
from workbench.evaluation import tables as evaluation
from workbench.jobs import tables as jobs
from workbench.registry import tables as registry

SLICES = (core, accounts, jobs, registry, datasets, evaluation, chat)
METADATA = Base.metadata
