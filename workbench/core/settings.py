"""One frozen settings object: given keyword arguments, then `WORKBENCH_*` variables, then the home's `settings.env`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import quote

import platformdirs
from dotenv import dotenv_values, set_key
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "WORKBENCH_"
FILE = "settings.env"  # in the home: lines such as WORKBENCH_DATABASE_URL=postgresql://…


def _default_home() -> Path:
    return Path(platformdirs.user_data_dir("workbench", appauthor=False))


class Settings(BaseSettings):
    """What can be set; every field is also an environment variable with the prefix `WORKBENCH_`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    #: Everything the product writes lies under this folder.
    home: Path = Field(default_factory=_default_home)
    #: SQLAlchemy URL; without one, SQLite in the home.
    database_url: SecretStr | None = None
    #: Connections to the database that a server keeps, and threads that serve plain routes.
    database_pool_size: int = Field(8, ge=1, le=64)
    #: Hours between two backups that are made by themselves; 0: none are.
    backup_hours: float = Field(24.0, ge=0)
    #: How many backups are kept in the folder of backups; the oldest beyond go.
    backup_keep: int = Field(7, ge=1)
    #: Folder of backups; None: `backups` in the home.
    backup_folder: Path | None = None
    #: `embedded`: the server starts the agent; `external`: an operator does.
    agent: Literal["embedded", "external"] = "embedded"
    #: Seconds an agent of the embedded kind stays with nothing to do.
    agent_idle_seconds: float = Field(600.0, gt=0)
    #: Seconds after which a dashboard's kernel ends that no browser watches any more.
    dashboard_idle_seconds: float = Field(300.0, gt=0)
    #: CPUs and GPUs that jobs may use on this host; None: what the machine has.
    cpus: int | None = Field(None, ge=1)
    gpus: int | None = Field(None, ge=0)
    #: Largest upload in bytes.
    max_upload_bytes: int = Field(20 * 2**30, gt=0)
    #: Who may make an account: nobody, who was invited, or everyone (who then is a reviewer).
    registration: Literal["closed", "invite", "open"] = "invite"
    #: Where mail goes out, such as `smtp://user:password@mail.example:587` (STARTTLS when offered) or `smtps://…`;
    #: None: mails are printed on the server's console.
    smtp_url: SecretStr | None = None
    #: Sender of mails.
    mail_from: str = "workbench@localhost"
    #: URL at which people reach the server, and its dashboards; None: the address at which they asked.
    public_url: str | None = None
    dashboards_url: str | None = None
    #: File of the keys that sign access tokens; None: `keys.json` in the home.
    key_file: Path | None = None
    #: Language of panels and messages; None: the Lab's or the system's.
    language: Literal["en", "zh-CN"] | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the home's own file last, so that every process of a home finds the same database."""
        home = init_settings().get("home") or env_settings().get("home") or _default_home()
        lines = dotenv_values(Path(home) / FILE, interpolate=False)  # a password may hold ${
        told = {name.removeprefix(PREFIX).lower(): value for name, value in lines.items() if name.startswith(PREFIX)}
        return init_settings, env_settings, InitSettingsSource(settings_cls, told)

    def keep(self, name: str, value: str) -> None:
        """Write a setting into the home's file, for its owner only; every later process of the home finds it."""
        path = self.home / FILE
        path.touch(0o600)
        path.chmod(0o600)
        set_key(path, f"{PREFIX}{name.upper()}", value)

    def resolved_database_url(self) -> str:
        """Return the SQLAlchemy URL in force."""
        if self.database_url is not None:
            return self.database_url.get_secret_value().replace("postgresql://", "postgresql+psycopg://", 1)
        return f"sqlite:///{quote(str(self.home / 'workbench.db'))}"

    def resolved_backup_folder(self) -> Path:
        """Return the folder of backups in force."""
        return self.backup_folder or self.home / "backups"

    def prepare_home(self) -> Path:
        """Create the home, readable by its owner only, and return it."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.home
