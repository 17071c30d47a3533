"""Which language a person reads: JupyterLab's setting, or what a browser asks for."""

from __future__ import annotations

from jupyter_server.serverapp import ServerApp
from jupyterlab_server.settings_utils import get_settings

from workbench.core.texts import LANGUAGES, Language

LOCALE_PLUGIN = "@jupyterlab/translation-extension:plugin"


def lab_language(serverapp: ServerApp) -> Language | None:
    """Return the language that JupyterLab is set to; None when it follows the system."""
    found = serverapp.extension_manager.extension_apps.get("jupyterlab", set())
    lab = next(iter(found), None)
    if lab is None:
        return None
    folders = (lab.app_settings_dir, lab.schemas_dir, lab.user_settings_dir)
    settings, _ = get_settings(*folders, schema_name=LOCALE_PLUGIN)
    locale = str(settings.get("settings", {}).get("locale", "default"))
    return None if locale == "default" else closest(locale)


def accepted_language(header: str, default: Language = "en") -> Language:
    """Return the first of our languages that an Accept-Language header names, else the default."""
    wishes = [part.partition(";")[0].strip() for part in header.split(",")]
    known = (closest(wish) for wish in wishes if wish[:2].lower() in {each[:2] for each in LANGUAGES})
    return next(known, default)


def closest(locale: str) -> Language:
    """Return the one of our languages that stands for a locale."""
    return "zh-CN" if locale.lower().startswith("zh") else "en"
