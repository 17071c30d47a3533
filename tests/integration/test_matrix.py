"""Who may do what: every route and handler of the running server × every role × one's own and another's thing.

The tables below were written by hand; a handler that they lack fails the test. An allowance is proved by its effect, a
denial by rows that did not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from people import PASSWORD, access_token, make_user
from servers import Lab, running_lab, until
from sqlalchemy import literal_column, select
from sqlalchemy.orm import Session
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from workbench.accounts import once
from workbench.accounts.tables import Login, OnceToken, Team, User
from workbench.chat.tables import Conversation
from workbench.core.clock import utcnow
from workbench.core.database import Base, Database
from workbench.core.ids import new_id
from workbench.core.settings import Settings
from workbench.datasets.tables import Dataset, DatasetVersion
from workbench.evaluation.tables import Evaluation
from workbench.jobs.tables import Job
from workbench.registry.tables import Model, ModelVersion
from workbench.testing import demo_rows, make_model

ROLES = {"r": "reviewer", "R": "researcher", "m": "maintainer", "a": "admin"}
#: Method and path; who may (a letter a role, `*` also strangers); what another's thing is to them: `own`: not there for
#: reviewer and researcher, and open to who manages the workspace; `own!`: likewise, and not changed by them when it is
#: shared with everyone; `self`: not there for anyone; `-`: there is none; the status of an allowance.
TABLE = """
POST   /api/auth/register                                * - 202
POST   /api/auth/verify                                  * - 200
POST   /api/auth/verify/resend                           * - 202
POST   /api/auth/password/forgot                         * - 202
POST   /api/auth/password/reset                          * - 200
POST   /api/auth/login                                   * - 200
POST   /api/auth/refresh                                 * - 200
GET    /api/auth/me                                      rRma - 200
PUT    /api/auth/me                                      rRma - 200
PUT    /api/auth/password                                rRma - 200
GET    /api/auth/logins                                  rRma - 200
DELETE /api/auth/logins                                  rRma - 204
DELETE /api/auth/logins/{login_id}                       rRma self 204
POST   /api/auth/logout                                  rRma - 200
POST   /api/auth/tickets                                 rRma - 201
POST   /api/auth/tokens                                  Rma - 201
GET    /api/auth/tokens                                  Rma - 200
DELETE /api/auth/tokens/{token_id}                       Rma self 204
GET    /api/auth/token                                   rRma - 200
DELETE /api/auth/token                                   rRma - 409
GET    /api/auth/teams                                   rRma - 200
POST   /api/auth/teams                                   a - 201
PUT    /api/auth/teams/{team_id}/members                 a - 200
DELETE /api/auth/teams/{team_id}                         a - 204
GET    /api/auth/users                                   a - 200
GET    /api/auth/users/{user_id}                         a - 200
PATCH  /api/auth/users/{user_id}                         a - 200
POST   /api/auth/invitations                             a - 201
GET    /api/auth/invitations                             a - 200
DELETE /api/auth/invitations/{invitation_id}             a - 204
GET    /api/auth/audit                                   a - 200
GET    /api/auth/audit/verify                            a - 200
GET    /api/database                                     a - 200
POST   /api/database/backups                             a - 202
POST   /api/database/drills                              a - 202
GET    /api/workbench/health                             rRma - 200
GET    /api/workbench/openapi.json                       rRma - 200
GET    /api/workbench/docs                               rRma - 200
GET    /api/datasets                                     rRma - 200
POST   /api/datasets                                     Rma - 201
GET    /api/datasets/{dataset_id}                        rRma own 200
PATCH  /api/datasets/{dataset_id}                        Rma own! 200
GET    /api/datasets/{dataset_id}/versions               rRma own 200
POST   /api/datasets/{dataset_id}/versions               Rma own! 201
GET    /api/datasets/versions/{dataset_version_id}       rRma own 200
GET    /api/datasets/versions/{dataset_version_id}/rows  rRma own 200
GET    /api/datasets/{dataset_id}/rows/{row_id}/models   rRma own 200
GET    /api/models                                       rRma - 200
POST   /api/models                                       Rma - 200
GET    /api/models/{model_id}                            rRma own 200
PATCH  /api/models/{model_id}                            Rma own! 200
GET    /api/models/{model_id}/versions                   rRma own 200
GET    /api/models/versions/{version_id}                 rRma own 200
PATCH  /api/models/versions/{version_id}                 Rma own! 200
GET    /api/models/versions/{version_id}/lineage         rRma own 200
POST   /api/models/{model_id}/deploy                     Rma own 202
GET    /api/train/preview                                Rma own 200
POST   /api/train/jobs                                   Rma own 202
GET    /api/train/versions/{version_id}/rows             rRma own 404:model.not_trained_here
GET    /api/jobs                                         rRma - 200
GET    /api/train/queue                                  rRma - 200
POST   /api/train/queue/reorder                          Rma own! 200
POST   /api/jobs/notebooks                               Rma - 202
GET    /api/jobs/{job_id}                                rRma own 200
PATCH  /api/jobs/{job_id}                                Rma own! 200
POST   /api/jobs/{job_id}/cancel                         Rma own! 200
POST   /api/jobs/{job_id}/resume                         Rma own! 200
GET    /api/jobs/{job_id}/log                            rRma own 200
GET    /api/jobs/{job_id}/metrics                        rRma own 200
GET    /api/jobs/{job_id}/notebook                       rRma own 404:notebook.not_found
WS     /ws/training/{job_id}/metrics                     rRma own 101
GET    /api/evaluation                                   rRma - 200
POST   /api/evaluation/models/{model_id}                 Rma own 202
GET    /api/evaluation/{evaluation_id}                   rRma own 200
GET    /api/evaluation/{evaluation_id}/samples           rRma own 200
GET    /api/evaluation/{evaluation_id}/report            rRma own 200
GET    /api/deployments                                  rRma - 200
GET    /api/deployments/{deployment_id}                  rRma own 200
POST   /api/deployments/{deployment_id}/stop             Rma own! 200
GET    /api/deployments/{deployment_id}/log              rRma own 200
WS     /ws/deployments/{deployment_id}                   rRma own 101
GET    /api/chat/models                                  rRma - 200
PATCH  /api/chat/models/settings                         rRma own 200
POST   /api/chat/completions                             rRma own 503:deployment.not_ready
GET    /api/chat/conversations                           rRma - 200
POST   /api/chat/conversations                           rRma - 201
GET    /api/chat/conversations/{conversation_id}         rRma self 200
PATCH  /api/chat/conversations/{conversation_id}         rRma self 200
DELETE /api/chat/conversations/{conversation_id}         rRma self 204
POST   /api/chat/conversations/{conversation_id}/messages rRma self 503:deployment.not_ready
GET    /api/chat/conversations/{conversation_id}/export  rRma self 200
GET    /api/openai/v1/models                             rRma - 200
GET    /api/openai/v1/models/{model}                     rRma own 200
POST   /api/openai/v1/chat/completions                   rRma own 503:deployment.not_ready
GET    /workbench                                        rRma - 200
GET    /workbench/register                               * - 200
POST   /workbench/register                               * - 200
GET    /workbench/verify                                 * - 200
POST   /workbench/verify                                 * - 200
GET    /workbench/resend                                 * - 200
POST   /workbench/resend                                 * - 200
GET    /workbench/forgot                                 * - 200
POST   /workbench/forgot                                 * - 200
GET    /workbench/reset                                  * - 200
POST   /workbench/reset                                  * - 200
GET    /workbench/account                                rRma - 200
GET    /workbench/admin                                  a - 200
GET    /workbench/dashboards                             rRma - 200
GET    /login                                            * - 200|302
POST   /login                                            * - 302
GET    /logout                                           * - 302
"""
#: Allowances whose effect is not a row: what cannot be done without an engine, and what there was nothing to do for.
WITHOUT_ROWS = {"/api/chat/completions", "/api/openai/v1/chat/completions", "/api/auth/token"}
WITHOUT_ROWS |= {"/api/chat/conversations/{conversation_id}/messages"}
#: Jupyter's own handlers: pattern, a path that fits it, and its methods; for people with a kernel alone.
JUPYTER = r"""
/lsp/status$ /lsp/status GET
/lsp/ws/(?P<language_server>.*)$ /lsp/ws/x WS
/proxy/([^/:@]+):(\d+)(/.*|)$ /proxy/localhost:9/ GET POST PUT PATCH DELETE HEAD
/proxy/absolute/([^/:@]+):(\d+)(/.*|)$ /proxy/absolute/localhost:9/ GET POST PUT PATCH DELETE HEAD
/proxy/(\d+)(/.*|)$ /proxy/9/ GET POST PUT PATCH DELETE HEAD
/proxy/absolute/(\d+)(/.*|)$ /proxy/absolute/9/ GET POST PUT PATCH DELETE HEAD
/server-proxy/servers-info$ /server-proxy/servers-info GET
/server-proxy/icon/(.*)$ /server-proxy/icon/x GET
/terminals/websocket/(\w+)$ /terminals/websocket/1 WS
/api/terminals$ /api/terminals GET POST
/api/terminals/(\w+)$ /api/terminals/1 GET DELETE
/lab/api/build$ /lab/api/build GET POST DELETE
/lab/api/extensions$ /lab/api/extensions GET POST
/lab/api/plugins$ /lab/api/plugins GET POST
/lab/api/update$ /lab/api/update GET
/lab/api/news$ /lab/api/news GET
/(?P<mode>lab|doc)(?P<workspace>/workspaces/[a-zA-Z0-9\-\_]+)?(?P<tree>/tree/.*)?$ /lab GET
/lab/extensions/(.*)$ /lab/extensions/x.js GET HEAD
/lab/api/settings/?$ /lab/api/settings GET PUT
/lab/api/settings/(?P<schema_name>.+)$ /lab/api/settings/@jupyterlab/apputils-extension:themes GET PUT
/lab/api/translations/?$ /lab/api/translations GET
/lab/api/translations/(?P<locale>.*)$ /lab/api/translations/en GET
/lab/api/workspaces/?$ /lab/api/workspaces GET PUT DELETE
/lab/api/workspaces/(?P<space_name>.+)$ /lab/api/workspaces/x GET PUT DELETE
/lab/api/listings/(.*)$ /lab/api/listings/x GET
/lab/api/themes/(.*)$ /lab/api/themes/x.css GET HEAD
/lab/api/licenses/(.*)$ /lab/api/licenses/x GET
/lab/.*$ /lab/x GET
/static/lab/(.*)$ /static/lab/x.js GET HEAD
/(robots\.txt)$ /robots.txt GET HEAD
/(favicon\.ico)$ /favicon.ico GET HEAD
/static/(.*)$ /static/style/style.min.css GET HEAD
/api/spec.yaml$ /api/spec.yaml GET HEAD
/api/status$ /api/status GET
/api/me$ /api/me GET PATCH
/api/resolvePath$ /api/resolvePath GET
/api/config/(?P<section_name>\w+)$ /api/config/notebook GET PUT PATCH
/api/contents(?P<path>(?:(?:/[^/]+)+|/?))/checkpoints$ /api/contents/workbench.ipynb/checkpoints GET POST
/api/contents(?P<path>(?:(?:/[^/]+)+|/?))/checkpoints/(?P<checkpoint_id>[\w-]+)$ /api/contents/a/checkpoints/b POST DELETE
/api/contents(?P<path>(?:(?:/[^/]+)+|/?))/trust$ /api/contents/a/trust POST
/api/contents(?P<path>(?:(?:/[^/]+)+|/?))$ /api/contents GET POST PUT PATCH DELETE
/api/notebooks/?(.*)$ /api/notebooks/x GET POST PUT PATCH DELETE
/api/kernels$ /api/kernels GET POST
/api/kernels/(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)$ /api/kernels/a-b-c-d-e GET DELETE
/api/kernels/(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)/(?P<action>restart|interrupt)$ /api/kernels/a-b-c-d-e/restart POST
/api/kernels/(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)/channels$ /api/kernels/a-b-c-d-e/channels WS
/kernelspecs/(?P<kernel_name>[\w\.\-%]+)/(?P<path>.*)$ /kernelspecs/python3/logo-64x64.png GET HEAD
/api/kernelspecs$ /api/kernelspecs GET
/api/kernelspecs/(?P<kernel_name>[\w\.\-%]+)$ /api/kernelspecs/python3 GET
/nbconvert/(?P<format>\w+)$ /nbconvert/html POST
/nbconvert/(?P<format>\w+)(?P<path>(?:(?:/[^/]+)+|/?))$ /nbconvert/html/workbench.ipynb GET
/api/nbconvert$ /api/nbconvert GET
/api/security/csp-report$ /api/security/csp-report POST
/api/sessions/(?P<session_id>\w+-\w+-\w+-\w+-\w+)$ /api/sessions/a-b-c-d-e GET PATCH DELETE
/api/sessions$ /api/sessions GET POST
/api/shutdown$ /api/shutdown POST
/view(?P<path>(?:(?:/[^/]+)+|/?))$ /view/workbench.ipynb GET
/api/events$ /api/events POST
/api/events/subscribe$ /api/events/subscribe WS
/files/(.*)$ /files/workbench.ipynb GET HEAD
/.*/$ /x/ GET POST PUT
/api$ /api GET
/(robots\.txt|favicon\.ico)$ /favicon.ico GET HEAD
/metrics$ /metrics GET
/?$ / GET
(.*)$ /nothing GET
"""  # noqa: E501 - rules as Jupyter writes them
#: What Jupyter shows to everyone: pictures, and that a page is not there.
PICTURES = {"/favicon.ico", "/robots.txt", "/static/style/style.min.css", "/static/lab/x.js", "/lab/extensions/x.js"}
PICTURES |= {"/lab/api/themes/x.css", "/api"}  # the latter tells Jupyter's version
#: What asks the internet, or another process.
OUTSIDE = {"/lab/api/extensions", "/lab/api/news", "/lab/api/update", "/proxy/9/", "/proxy/absolute/9/"}
OUTSIDE |= {"/proxy/localhost:9/", "/proxy/absolute/localhost:9/", "/lsp/ws/x"}
#: Patterns whose handler only redirects or answers 404 before it asks who comes.
BARE = {"/.*/$", "(.*)$", "/?$", "/api/notebooks/?(.*)$"}
#: Jupyter refuses here without an answer: its handler fails to write the refusal.
SILENT = "/lab/api/licenses/x"
#: Tables that change by themselves, or by every request.
VOLATILE = {"audit_log", "hosts", "outbox"}


@dataclass
class Case:
    """One request of the matrix."""

    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    content: bytes | None = None
    form: dict[str, str] | None = None


@dataclass
class Bench:
    """A server with an account of every role, and a factory of things that belong to any of them."""

    lab: Lab
    database: Database
    settings: Settings
    people: dict[str, str]
    other: str
    base: Path
    handlers: list[tuple[str, str, list[str]]]

    def token(self, user_id: str) -> str:
        with self.database.write() as session:
            return access_token(session, self.settings, session.get_one(User, user_id))

    def rows(self) -> str:
        """Return a digest of everything that a request may change."""
        digest = hashlib.sha256()
        with self.database.read() as session:
            for table in Base.metadata.sorted_tables:
                if table.name not in VOLATILE:
                    names = [column.name for column in table.columns if column.name != "last_used_at"]
                    raw = select(*(literal_column(f'"{name}"') for name in names)).select_from(table)
                    lines = sorted(str(tuple(row)) for row in session.execute(raw))
                    digest.update(f"{table.name}{lines}".encode())
        return digest.hexdigest()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("matrix")
    config, report = folder / "jupyter_server_config.py", folder / "probe.json"
    config.write_text('c.ServerApp.jpserver_extensions = {"boundary_probe": True}\n')
    home = folder / "home"
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--config={config}"]
    command += ["--ServerApp.port=0", "--IdentityProvider.token=owners-token", f"--ServerApp.root_dir={folder}"]
    probe = str(Path(__file__).parent / "probe_extension")
    variables = {
        "BOUNDARY_PROBE": str(report),
        "PYTHONPATH": os.pathsep.join([probe, os.environ.get("PYTHONPATH", "")]),
    }
    variables |= {"WORKBENCH_AGENT": "external", "WORKBENCH_REGISTRATION": "open"}
    with running_lab(home, command, **variables) as lab:
        until(report.exists, 90, "the list of handlers")
        handlers = json.loads(report.read_text())["handlers"]
        database, settings = lab.database(), Settings(home=home)
        with database.write() as session:
            people = {
                letter: make_user(session, f"Person {role}".replace(" ", "-"), role).id
                for letter, role in ROLES.items()
            }  # type: ignore[arg-type]
            other = make_user(session, "Olga").id
        base = make_model(folder / "tiny", "qwen3", hidden_size=32)
        data = lab.wb.datasets.upload(demo_rows()[:40], name="template")
        model = lab.wb.models.add(str(base))
        assert data.id
        assert model.id
        (home / "samples.jsonl").write_text("")
        yield Bench(lab, database, settings, people, other, base, handlers)
        database.close()


# factories: each makes a thing of a person directly in the database, and returns its id


#: What the things of `arranged` are shared with.
audience = "private"


def copy_of(session: Session, row: Any, **changes: Any) -> Any:
    """Return a copy of a row."""
    values = {column.name: getattr(row, column.name) for column in type(row).__table__.columns}
    made = type(row)(**values | changes)
    session.add(made)
    session.flush()
    return made


def dataset(session: Session, owner: str) -> tuple[str, str]:
    template = session.scalars(select(Dataset).where(Dataset.name == "template")).one()
    version = session.scalars(select(DatasetVersion).where(DatasetVersion.dataset_id == template.id)).first()
    identity, head = new_id("ds"), new_id("dsv")
    copy_of(
        session,
        template,
        id=identity,
        owner_id=owner,
        name=f"data {identity}",
        head_version_id=head,
        audience=audience,
    )
    copy_of(session, version, id=head, dataset_id=identity)
    return identity, head


def model(session: Session, owner: str) -> tuple[str, str]:
    template = session.scalars(select(Model).where(Model.name == "tiny", Model.owner_id == "owner")).one()
    version = session.scalars(select(ModelVersion).where(ModelVersion.model_id == template.id)).first()
    identity, only = new_id("mdl"), new_id("mv")
    copy_of(session, template, id=identity, owner_id=owner, name=f"model {identity}", audience=audience)
    copy_of(session, version, id=only, model_id=identity, author_id=owner, fingerprint=identity)
    return identity, only


def job(session: Session, owner: str, kind: str = "train", state: str = "queued", spec: Any = None) -> str:
    made = Job(
        id=new_id("job"), kind=kind, title="x", owner_id=owner, owner_name="x", audience=audience, spec=spec or {},
        cpus=1, gpus=0, state=state, attempt_no=0, cancel_requested=False, created_at=utcnow(),
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made.id


def deployment(session: Session, owner: str) -> str:
    version = model(session, owner)[1]
    spec = {"version_id": version, "model_name": f"{version}@1", "path": "x", "weights_sha256": None, "deploy": {}}
    return job(session, owner, "serve", "queued", spec)


def evaluation(session: Session, owner: str) -> str:
    template = {"source": "plain", "sha256": "0", "tokenizer_sha256": "0"}
    score = {
        "version_id": model(session, owner)[1], "role": "tuned", "rows": 0, "exact_match": 0.0, "perplexity": 1.0,
        "tokens": 0, "seconds": 0.0, "weights_sha256": "0", "template": template, "samples_path": "samples.jsonl",
        "samples_sha256": "0",
    }  # fmt: skip
    made = Evaluation(
        id=new_id("ev"), job_id=job(session, owner, "evaluate", "succeeded"),
        dataset_version_id=dataset(session, owner)[1],
        split="test", settings={"max_new_tokens": 8}, scores=[score], comparison=None, created_at=utcnow(),
    )  # fmt: skip
    session.add(made)
    session.flush()
    return made.id


def conversation(session: Session, owner: str) -> str:
    made = Conversation(id=new_id("conv"), owner_id=owner, title="x", created_at=utcnow(), updated_at=utcnow())
    session.add(made)
    session.flush()
    return made.id


def once_token(session: Session, purpose: Any, owner: str) -> str:
    return once.issue(session, purpose, owner, role="reviewer", email=None)[1]


def fresh_user(session: Session, verified: bool = True) -> User:
    return make_user(session, f"u{uuid.uuid4().hex}", "reviewer", verified=verified)


Arrange = Callable[[Session, str, Bench], Case]
LINE = {"role": "user", "content": "x"}
CELL = {"cell_type": "code", "id": "c", "source": "x = 1", "metadata": {"tags": ["parameters"]}, "outputs": []}
NOTEBOOK = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [CELL | {"execution_count": None}]}
ROWS = "".join(json.dumps(row) + "\n" for row in demo_rows()[:41]).encode()


def new_person() -> dict[str, str]:
    return {"email": f"{uuid.uuid4().hex}@example.org", "name": "New", "password": PASSWORD}


def refresh_of(session: Session, owner: str, bench: Bench) -> str:
    from workbench.accounts import logins
    from workbench.accounts.signing import keys

    user = fresh_user(session)
    login = logins.begin(session, user, address="", agent="")
    return logins.with_tokens(session, login, user, keys(bench.settings)).refresh_token


def login_row(session: Session, owner: str) -> str:
    made = Login(id=new_id("login"), user_id=owner, address="", agent="", expires_at=utcnow().replace(year=2099))
    session.add(made)
    session.flush()
    return made.id


def token_row(session: Session, owner: str) -> str:
    from workbench.accounts import people, service

    who = people.principal(session, session.get_one(User, owner))
    service.issue(session, who, "program", "personal", "x")
    row = session.scalars(select(service.AccessToken).order_by(service.AccessToken.id.desc())).first()
    assert row is not None
    row.holder_id, row.name = row.id, "x"
    session.flush()
    return row.id


def team_row(session: Session) -> str:
    made = Team(id=new_id("team"), name=f"t {uuid.uuid4().hex}", created_at=utcnow())
    session.add(made)
    session.flush()
    return made.id


def invitation_row(session: Session) -> str:
    row: OnceToken = once.issue(session, "invite", "owner", role="reviewer", email=None)[0]
    return row.id


def asked(session: Session, owner: str) -> dict[str, Any]:
    return {"model": deployment(session, owner), "messages": [LINE]}


#: What each request of the table needs beside its credential; for another's thing it is called with the other's id.
ARRANGE: dict[str, Arrange] = {
    "POST /api/auth/register": lambda s, o, b: Case(body=new_person()),
    "POST /api/auth/verify": lambda s, o, b: Case(body={"code": once_token(s, "verify", fresh_user(s, False).id)}),
    "POST /api/auth/verify/resend": lambda s, o, b: Case(body={"email": fresh_user(s, False).email}),
    "POST /api/auth/password/forgot": lambda s, o, b: Case(body={"email": fresh_user(s).email}),
    "POST /api/auth/password/reset": lambda s, o, b: Case(
        body={"code": once_token(s, "reset", fresh_user(s).id), "password": "another long password"}
    ),
    "POST /api/auth/login": lambda s, o, b: Case(body={"email": fresh_user(s).email, "password": PASSWORD}),
    "POST /api/auth/refresh": lambda s, o, b: Case(body={"refresh_token": refresh_of(s, o, b)}),
    "PUT /api/auth/me": lambda s, o, b: Case(body={"name": f"N {uuid.uuid4().hex}"}),
    "PUT /api/auth/password": lambda s, o, b: Case(body={"current": PASSWORD, "password": PASSWORD}),
    "DELETE /api/auth/logins/{login_id}": lambda s, o, b: Case({"login_id": login_row(s, o)}),
    "POST /api/auth/tokens": lambda s, o, b: Case(body={"name": "x"}),
    "DELETE /api/auth/tokens/{token_id}": lambda s, o, b: Case({"token_id": token_row(s, o)}),
    "POST /api/auth/teams": lambda s, o, b: Case(body={"name": f"t {uuid.uuid4().hex}"}),
    "PUT /api/auth/teams/{team_id}/members": lambda s, o, b: Case({"team_id": team_row(s)}, body={"user_ids": [o]}),
    "DELETE /api/auth/teams/{team_id}": lambda s, o, b: Case({"team_id": team_row(s)}),
    "GET /api/auth/users/{user_id}": lambda s, o, b: Case({"user_id": fresh_user(s).id}),
    "PATCH /api/auth/users/{user_id}": lambda s, o, b: Case({"user_id": fresh_user(s).id}, body={"role": "admin"}),
    "POST /api/auth/invitations": lambda s, o, b: Case(body={"role": "admin"}),
    "DELETE /api/auth/invitations/{invitation_id}": lambda s, o, b: Case({"invitation_id": invitation_row(s)}),
    "POST /api/datasets": lambda s, o, b: Case(query={"filename": f"d{uuid.uuid4().hex}.jsonl"}, content=ROWS),
    "PATCH /api/datasets/{dataset_id}": lambda s, o, b: Case(
        {"dataset_id": dataset(s, o)[0]}, body={"audience": "everyone" if audience == "private" else "private"}
    ),
    "POST /api/datasets/{dataset_id}/versions": lambda s, o, b: (
        lambda made: Case(
            {"dataset_id": made[0]},
            {"filename": "n.jsonl", "parent": made[1], "test_fraction": 0.2, "split_seed": 1},
            content=ROWS,
        )
    )(dataset(s, o)),
    "POST /api/models": lambda s, o, b: Case(body={"base": str(b.base)}),
    "PATCH /api/models/{model_id}": lambda s, o, b: Case(
        {"model_id": model(s, o)[0]}, body={"audience": "everyone" if audience == "private" else "private"}
    ),
    "PATCH /api/models/versions/{version_id}": lambda s, o, b: Case(
        {"version_id": model(s, o)[1]}, body={"notes": "x"}
    ),
    "POST /api/models/{model_id}/deploy": lambda s, o, b: Case({"model_id": model(s, o)[1]}, body={}),
    "GET /api/train/preview": lambda s, o, b: Case(
        query={"base": model(s, o)[1], "version_id": dataset(s, o)[1], "split": "train", "limit": 1}
    ),
    "POST /api/train/jobs": lambda s, o, b: Case(
        body={
            "base": model(s, o)[1],
            "data": {"version_id": dataset(s, o)[1], "split": "train"},
            "method": "sft",
            "max_steps": 1,
            "max_length": 64,
        }
    ),
    "POST /api/jobs/notebooks": lambda s, o, b: Case(body={"notebook": NOTEBOOK}),
    "POST /api/train/queue/reorder": lambda s, o, b: Case(body={"job_id": job(s, o)}),
    "PATCH /api/jobs/{job_id}": lambda s, o, b: Case(
        {"job_id": job(s, o)}, body={"audience": "everyone" if audience == "private" else "private"}
    ),
    "POST /api/jobs/{job_id}/resume": lambda s, o, b: Case({"job_id": job(s, o, state="failed")}),
    "POST /api/evaluation/models/{model_id}": lambda s, o, b: Case(
        {"model_id": model(s, o)[1]}, body={"data": {"version_id": dataset(s, o)[1], "split": "test"}}
    ),
    "PATCH /api/chat/models/settings": lambda s, o, b: Case(body={"model": deployment(s, o), "temperature": 0.5}),
    "POST /api/chat/completions": lambda s, o, b: Case(body=asked(s, o)),
    "POST /api/openai/v1/chat/completions": lambda s, o, b: Case(body=asked(s, o)),
    "GET /api/openai/v1/models/{model}": lambda s, o, b: Case({"model": deployment(s, o)}),
    "POST /api/chat/conversations": lambda s, o, b: Case(body={}),
    "PATCH /api/chat/conversations/{conversation_id}": lambda s, o, b: Case(
        {"conversation_id": conversation(s, o)}, body={"title": "y"}
    ),
    "POST /api/chat/conversations/{conversation_id}/messages": lambda s, o, b: Case(
        {"conversation_id": conversation(s, o)}, body={"model": deployment(s, o), "content": "x"}
    ),
    "POST /workbench/register": lambda s, o, b: Case(form=new_person()),
    "GET /workbench/verify": lambda s, o, b: Case(query={"code": "x"}),
    "POST /workbench/verify": lambda s, o, b: Case(form={"code": once_token(s, "verify", fresh_user(s, False).id)}),
    "POST /workbench/resend": lambda s, o, b: Case(form={"email": fresh_user(s, False).email}),
    "POST /workbench/forgot": lambda s, o, b: Case(form={"email": fresh_user(s).email}),
    "GET /workbench/reset": lambda s, o, b: Case(query={"code": "x"}),
    "POST /workbench/reset": lambda s, o, b: Case(
        form={"code": once_token(s, "reset", fresh_user(s).id), "password": "another long password"}
    ),
    "POST /login": lambda s, o, b: Case(form={"email": fresh_user(s).email, "password": PASSWORD}),
}
MAKERS: dict[str, Callable[[Session, str], str]] = {
    "dataset_id": lambda s, o: dataset(s, o)[0],
    "dataset_version_id": lambda s, o: dataset(s, o)[1],
    "model_id": lambda s, o: model(s, o)[0],
    "version_id": lambda s, o: model(s, o)[1],
    "job_id": job,
    "evaluation_id": evaluation,
    "deployment_id": deployment,
    "conversation_id": conversation,
    "row_id": lambda s, o: "0",
}


def arranged(bench: Bench, key: str, owner: str, shared: bool) -> Case:
    """Make what a request needs, as things of `owner`."""
    global audience
    audience = "everyone" if shared else "private"
    with bench.database.write() as session:
        if key in ARRANGE:
            return ARRANGE[key](session, owner, bench)
        return Case({name: MAKERS[name](session, owner) for name in re.findall(r"\{(\w+)\}", key)})


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    method: str
    path: str
    who: str
    rule: str
    status: str

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"


def lines() -> list[Row]:
    return [Row(*line.split()) for line in TABLE.strip().splitlines()]


#: The server speaks plain HTTP; to load the system's certificates for each request took a third of the test.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def send(bench: Bench, row: Row, case: Case, token: str | None, timeout: int = 30) -> tuple[int, str, str]:
    """Send a request; return its status, the code of a refusal, and its text."""
    url = bench.lab.url.rstrip("/") + re.sub(r"\{(\w+)\}", lambda match: case.path[match[1]], row.path)
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    if row.method == "WS":
        return socket(url, headers)
    with httpx.Client(timeout=timeout, verify=NO_AUTHORITIES) as client:
        form = case.form
        if form is not None:
            page = client.get(url if row.path != "/login" else f"{bench.lab.url}login")
            form = {**form, "_xsrf": client.cookies.get("_xsrf", "")}
            assert page.status_code in (200, 302)
        body: dict[str, Any] = {"json": case.body} if case.body is not None else {}
        body |= {"content": case.content} if case.content is not None else {}
        body |= {"data": form} if form is not None else {}
        answer = client.request(row.method, url, params=case.query, headers=headers, **body)
    code = ""
    if answer.status_code >= 400 and "json" in answer.headers.get("Content-Type", ""):
        told = answer.json()
        code = told.get("code") or told.get("error", {}).get("code", "")
    return answer.status_code, code, answer.headers.get("Location", "") or answer.text


def socket(url: str, headers: dict[str, str]) -> tuple[int, str, str]:
    """Open a WebSocket; a stream that refuses after the upgrade tells its status in the close code."""
    try:
        with connect(url.replace("http", "ws", 1), additional_headers=headers) as connection:
            try:
                return 101, "", str(connection.recv(timeout=5))
            except Exception:  # closed by the server
                code = connection.close_code or 0
                return (code - 4000 if code >= 4000 else 101), "", connection.close_reason or ""
    except InvalidStatus as error:
        status = error.response.status_code  # of the login page, when the client was redirected there
        return (302, "", "/login?next=") if status == 200 else (status, "", "")


WHOSE = ("one's own", "another's", "another's, shared")


def expected(row: Row, letter: str, whose: str) -> str:
    """Return what the table says: `allowed`, `403`, `404`, or `anonymous`."""
    if letter == "":
        return "allowed" if row.who == "*" else "anonymous"
    if row.who != "*" and letter not in row.who:
        return "403"
    if whose != "one's own" and (row.rule == "self" or (whose == "another's" and letter in "rR")):
        return "404"
    return "403" if whose == "another's, shared" and row.rule == "own!" and letter in "rR" else "allowed"


def wrong(row: Row, want: str, found: tuple[int, str, str], changed: bool) -> str:
    """Say what differs from the table, nothing when all is as it says."""
    status, code, text = found
    if want == "allowed":
        wanted, _, wanted_code = row.status.partition(":")
        if str(status) not in wanted.split("|") or (wanted_code and code != wanted_code):
            return f"got {status} {code} {text[:200]}"
        effect = row.method not in ("GET", "WS") and row.path not in WITHOUT_ROWS
        return "no row changed" if effect and not changed else ""
    if changed:
        return "rows changed"
    if want == "anonymous":
        fine = status in (401, 403) or (status == 302 and "/login?next=" in text)
    else:
        fine = str(status) == want and not (want == "404" and row.status.partition(":")[2] == code != "")
    return "" if fine else f"got {status} {code} {text[:200]}"


def test_the_table_knows_every_handler(bench: Bench) -> None:
    ours = {(row.method, pattern(row.path)) for row in lines()}
    jupyters = {(method, line.split()[0]) for line in JUPYTER.strip().splitlines() for method in line.split()[2:]}
    unknown = []
    for rule, name, methods in bench.handlers:
        sockets = "ocket" in name.rpartition(".")[2]
        for method in methods:
            asked_for = ("WS" if sockets else method, rule)
            if method != "OPTIONS" and asked_for not in (ours if name.startswith("workbench_server") else jupyters):
                unknown.append(f"{asked_for} {name}")
    assert not unknown


def pattern(path: str) -> str:
    """Return a path of the table as the server's rule has it."""
    named = path.replace("{dataset_version_id}", "{version_id}")
    rule = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", named)
    return "/workbench/?$" if path == "/workbench" else f"{rule}$"


def test_every_route_for_every_role(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    faults, cells = [], 0
    for row in lines():
        for letter in ("", *ROLES):
            user_id = bench.people.get(letter, "")
            for whose in WHOSE if letter and row.rule != "-" else WHOSE[:1]:
                cells += 1
                owner = user_id if user_id and whose == "one's own" else bench.other
                case = arranged(bench, row.key, owner, shared=whose == "another's, shared")
                token = bench.token(user_id) if user_id else None
                want = expected(row, letter, whose)
                before = bench.rows()
                found = send(bench, row, case, token)
                fault = wrong(row, want, found, bench.rows() != before)
                if fault:
                    faults.append(f"{row.key} by {ROLES.get(letter, 'a stranger')} ({whose}): {want}, but {fault}")
    with capsys.disabled():
        print(f"\n{cells} cells of our routes")
    assert not faults, "\n".join(faults)


def test_jupyters_handlers_are_for_people_with_a_kernel(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    faults, cells = [], 0
    tokens = {letter: bench.token(user_id) for letter, user_id in bench.people.items()}
    before = state(bench)
    for line in JUPYTER.strip().splitlines():
        rule, path, *methods = line.split()
        for method in methods:
            for letter in ("", *ROLES):
                kernel = letter in ("R", "m", "a")
                if kernel and (method not in ("GET", "WS") or path in OUTSIDE):
                    continue  # what they may do to Jupyter is Jupyter's; that they get in is shown by reading
                cells += 1
                row = Row(method, path, "", "-", "200")
                try:
                    status, _, text = send(bench, row, Case(), tokens.get(letter), timeout=3 if path == SILENT else 30)
                except httpx.ReadTimeout:
                    status, text = 0, "no answer"
                if kernel:
                    fine = status not in (0, 401, 403) and "/login?next=" not in text
                elif rule in BARE or path in PICTURES:
                    fine = status in (200, 302, 401, 403, 404, 405)
                elif path == SILENT:
                    fine = status == 0
                else:
                    fine = status in (401, 403) or (status == 302 and "/login?next=" in text and not letter)
                if not fine:
                    faults.append(f"{method} {path} by {ROLES.get(letter, 'a stranger')}: {status} {text[:100]}")
    with capsys.disabled():
        print(f"\n{cells} cells of Jupyter's handlers")
    assert not faults, "\n".join(faults)
    assert state(bench) == before


def state(bench: Bench) -> list[Any]:
    """Return Jupyter's kernels, sessions, terminals and files, as the owner sees them."""
    headers = {"Authorization": f"Bearer {bench.lab.token}"}
    answers = [
        httpx.get(f"{bench.lab.url}api/{name}", headers=headers, timeout=30).json()
        for name in ("kernels", "sessions", "terminals")
    ]
    contents = httpx.get(f"{bench.lab.url}api/contents", headers=headers, timeout=30).json()
    return [*answers, sorted(entry["name"] for entry in contents["content"])]


def test_a_kernel_is_really_allowed(bench: Bench) -> None:
    headers = {"Authorization": f"Bearer {bench.token(bench.people['R'])}"}
    started = httpx.post(f"{bench.lab.url}api/kernels", headers=headers, json={"name": "python3"}, timeout=60)
    assert started.status_code == 201
    ended = httpx.delete(f"{bench.lab.url}api/kernels/{started.json()['id']}", headers=headers, timeout=60)
    assert ended.status_code == 204
