"""What a caller's session shows, on both stores."""

from __future__ import annotations

from dataclasses import replace

import pytest
from people import make_person
from sqlalchemy import func, select, update

from workbench.accounts import admin
from workbench.accounts.people import person
from workbench.accounts.schemas import TeamCreate, TeamMembers
from workbench.core.context import Context, Principal
from workbench.core.database import Database
from workbench.core.ownership import MANAGE, NoSuchTeam, NotYours, changeable, may_change, require_change, share
from workbench.core.settings import Settings
from workbench.jobs import service as jobs
from workbench.jobs.schemas import JobsQuery
from workbench.jobs.tables import Attempt, Job


@pytest.fixture
def ada(context: Context) -> Principal:
    return make_person(context.session, "Ada")


@pytest.fixture
def bob(context: Context) -> Principal:
    return make_person(context.session, "Bob")


@pytest.fixture
def job_id(context: Context, ada: Principal) -> str:
    """A job of Ada's, with an attempt."""
    job = jobs.submit(replace(context, user=ada), "train", "Ada's", {})
    context.session.info.clear()
    context.session.add(Attempt(id="att_1", job_id=job.id, no=1, host_id="h"))
    context.session.flush()
    context.session.expunge_all()
    return job.id


def seen(context: Context, user: Principal, job_id: str) -> list[bool]:
    """Tell whether each way to a job finds it."""
    context.session.expunge_all()
    asking = replace(context, user=user)
    session = asking.session
    return [
        session.get(Job, job_id) is not None,
        session.get(Attempt, "att_1") is not None,
        job_id in [job.id for job in jobs.listing(asking, JobsQuery()).items],
        session.scalar(select(func.count()).select_from(Attempt).where(Attempt.job_id == job_id)) == 1,
        bool(session.execute(select(Attempt, Job.title).join(Job, Job.id == Attempt.job_id)).all()),
    ]


def shared(context: Context, user: Principal, job_id: str, audience: str) -> None:
    asking = replace(context, user=user)
    share(asking, jobs.find(asking.session, job_id), audience, "The job")
    asking.session.flush()


def test_what_is_private_is_not_there_for_others(context: Context, ada: Principal, bob: Principal, job_id: str) -> None:
    assert seen(context, ada, job_id) == [True] * 5
    assert seen(context, bob, job_id) == [False] * 5
    asking = replace(context, user=bob)
    for act in (jobs.cancel, jobs.resume):
        with pytest.raises(jobs.JobNotFound):
            act(asking, job_id)


def test_what_is_everyones_is_seen_and_not_changed(
    context: Context, ada: Principal, bob: Principal, job_id: str
) -> None:
    shared(context, ada, job_id, "everyone")
    assert seen(context, bob, job_id) == [True] * 5
    asking = replace(context, user=bob)
    with pytest.raises(NotYours):
        jobs.cancel(asking, job_id)
    with pytest.raises(NotYours):
        shared(context, bob, job_id, "private")


@pytest.mark.parametrize("teams", [frozenset(), frozenset({"team_1"}), frozenset({"team_2", "team_3"})], ids=len)
@pytest.mark.parametrize("permissions", [frozenset(), frozenset({MANAGE})], ids=["member", "maintainer"])
def test_a_row_and_a_query_agree_on_who_may_change(
    context: Context, ada: Principal, bob: Principal, teams: frozenset[str], permissions: frozenset[str]
) -> None:
    user = replace(bob, teams=teams, permissions=permissions)
    for owner in (ada, bob):
        for audience in ("private", "everyone", "team_1", "team_2"):
            made = jobs.submit(replace(context, user=owner), "train", audience, {})
            context.session.execute(update(Job).where(Job.id == made.id).values(audience=audience))
    session = context.session
    session.info.clear()
    session.expire_all()
    allowed = set(session.scalars(select(Job.id).where(changeable(Job, user))))
    assert allowed == {job.id for job in session.scalars(select(Job)) if may_change(user, job)}
    assert 4 <= len(allowed) <= 8


def test_a_teams_thing_is_its_members_to_see_and_change(
    context: Context, ada: Principal, bob: Principal, job_id: str
) -> None:
    session = context.session
    team = admin.create_team(context, TeamCreate(name="ours"))
    admin.set_members(context, team.id, TeamMembers(user_ids=[ada.id]))
    with pytest.raises(NoSuchTeam):
        shared(context, ada, job_id, team.id)  # she was no member when she logged in
    member = person(session, ada.id)
    assert member is not None
    shared(context, member, job_id, team.id)
    assert seen(context, bob, job_id) == [False] * 5
    admin.set_members(context, team.id, TeamMembers(user_ids=[ada.id, bob.id]))
    joined = person(session, bob.id)
    assert joined is not None
    assert seen(context, joined, job_id) == [True] * 5
    asking = replace(context, user=joined)
    require_change(asking, jobs.find(session, job_id), "The job")
    admin.delete_team(context, team.id)
    left = person(session, bob.id)
    assert left is not None
    assert seen(context, left, job_id) == [False] * 5


def test_a_maintainer_sees_and_changes_all(context: Context, job_id: str) -> None:
    maintainer = make_person(context.session, "Mia", "maintainer")
    assert seen(context, maintainer, job_id) == [True] * 5
    assert jobs.cancel(replace(context, user=maintainer), job_id).state == "cancelled"


def test_a_session_without_a_caller_sees_all(database: Database, settings: Settings) -> None:
    with database.write() as session:
        bob = make_person(session, "Bob")
        job = jobs.submit(Context(session, make_person(session, "Ada"), settings), "train", "Ada's", {})
    with database.read() as session:
        assert session.get(Job, job.id) is not None
    with database.read() as session:
        Context(session, bob, settings)
        assert session.get(Job, job.id) is None
