from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from workbench.core.context import Context
from workbench.core.lineage import Ref, link
from workbench.core.schemas import PageQuery
from workbench.jobs import service as jobs
from workbench.registry import schemas, service
from workbench.registry.folders import BaseModelNotFound
from workbench.registry.service import AliasMissing, ModelNotFound, ModelVersionNotFound

from .conftest import MakeFolder

AUTHOR = ("u_ada", "Ada")


def publish(context: Context, base: schemas.ModelVersion, name: str = "support") -> schemas.ModelVersion:
    job = jobs.submit(context, "train", "Tune", {})
    return service.publish(
        context.session,
        name=name,
        author=AUTHOR,
        path="models/att_1",
        parent_id=base.id,
        job_id=job.id,
        result={"weights_sha256": "f" * 64, "record": {"seed": 7}},
    )


def test_a_folder_becomes_a_base_model(context: Context, make_folder: MakeFolder) -> None:
    folder = make_folder("tiny")
    base = service.resolve(context, str(folder))
    assert (base.kind, base.model_name, base.number, base.path) == ("base", "tiny", 1, str(folder))
    assert (base.weights_sha256, base.parent_id, base.job_id, base.record) == (None, None, None, {})
    assert base.author_name == context.user.name


def test_a_folder_is_registered_once(context: Context, make_folder: MakeFolder) -> None:
    folder = make_folder()
    assert service.resolve(context, str(folder)) == service.resolve(context, f"{folder}/")


def test_a_folder_whose_weights_have_changed_is_a_new_version(context: Context, make_folder: MakeFolder) -> None:
    folder = make_folder()
    first = service.resolve(context, str(folder))
    os.utime(folder / "model.safetensors", ns=(1, 1))
    second = service.resolve(context, str(folder))
    assert (second.model_id, second.number) == (first.model_id, 2)


def test_two_folders_of_one_name_are_two_versions(context: Context, make_folder: MakeFolder, tmp_path: Path) -> None:
    first = make_folder("tiny")
    second = tmp_path / "other" / "tiny"
    second.parent.mkdir()
    first.rename(second)
    make_folder("tiny")
    versions = [service.resolve(context, str(folder)) for folder in (first, second)]
    assert [version.number for version in versions] == [1, 2]
    assert versions[0].model_id == versions[1].model_id


def test_a_version_is_found_by_its_id(context: Context, make_folder: MakeFolder) -> None:
    tuned = publish(context, service.resolve(context, str(make_folder())))
    assert service.resolve(context, tuned.id) == tuned == service.version(context.session, tuned.id)


def test_an_unknown_base_is_refused(context: Context) -> None:
    with pytest.raises(BaseModelNotFound, match="There is no base model “/no/such/folder”"):
        service.resolve(context, "/no/such/folder")
    with pytest.raises(ModelVersionNotFound, match="There is no model version mv_x"):
        service.version(context.session, "mv_x")
    with pytest.raises(ModelNotFound, match="There is no model mdl_x"):
        service.show(context, "mdl_x")


def test_published_versions_are_numbered(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder()))
    made = [publish(context, base), publish(context, base), publish(context, base, "other")]
    assert [(version.model_name, version.number) for version in made] == [("support", 1), ("support", 2), ("other", 1)]
    first = made[0]
    assert (first.kind, first.parent_id, first.weights_sha256, first.record) == (
        "tuned",
        base.id,
        "f" * 64,
        {"seed": 7},
    )
    assert (first.author_name, first.job_id is not None) == ("Ada", True)


def test_paths_of_what_we_made_are_relative_to_the_home(context: Context, make_folder: MakeFolder) -> None:
    folder = make_folder()
    base = service.resolve(context, str(folder))
    home = context.settings.home
    assert service.folder(context, base.id) == service.folder(context, str(folder)) == folder
    assert service.folder(context, publish(context, base).id) == home / "models" / "att_1"


def test_the_hash_of_a_bases_weights_is_noted_once(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder()))
    service.note_weights(context.session, base.id, "a" * 64)
    service.note_weights(context.session, base.id, "b" * 64)
    assert service.version(context.session, base.id).weights_sha256 == "a" * 64


def test_a_model_shows_its_versions_newest_first(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder()))
    made = [publish(context, base) for _ in range(3)]
    model = service.show(context, made[0].model_id)
    assert (model.name, model.versions) == ("support", made[::-1])


def test_models_are_listed_newest_first_page_by_page(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder("tiny")))
    for name in ("a", "b"):
        publish(context, base, name)
    first = service.listing(context, PageQuery(limit=2))
    second = service.listing(context, PageQuery(limit=2, cursor=first.next_cursor))
    assert [model.name for model in [*first.items, *second.items]] == ["b", "a", "tiny"]
    assert second.next_cursor is None


def test_a_lineage_leads_from_the_base_and_the_data_to_the_version(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder()))
    tuned = publish(context, base)
    run, data = Ref(kind="job", id=tuned.job_id or ""), Ref(kind="dataset_version", id="dsv_1")
    for source, target in [(Ref(kind="model_version", id=base.id), run), (data, run)]:
        link(context.session, source, target, "used by")
    link(context.session, run, Ref(kind="model_version", id=tuned.id), "made")
    found = service.lineage(context, tuned.id).edges
    assert {edge.source.id for edge in found} == {base.id, "dsv_1", tuned.job_id}
    assert {edge.target.id for edge in service.lineage(context, base.id).edges} == {tuned.job_id, tuned.id}


def test_an_alias_points_at_one_version_of_a_model(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder()))
    first, second = publish(context, base), publish(context, base)
    service.update(context, first.id, schemas.VersionUpdate(aliases=["champion", "stable"]))
    moved = service.update(context, second.id, schemas.VersionUpdate(aliases=["champion"]))
    assert moved.aliases == ["champion"]
    assert service.version(context.session, first.id).aliases == ["stable"]
    assert service.update(context, first.id, schemas.VersionUpdate(aliases=[])).aliases == []


def test_aliases_and_notes_change_apart(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder()))
    service.update(context, base.id, schemas.VersionUpdate(notes="The *small* one", aliases=["small"]))
    assert service.update(context, base.id, schemas.VersionUpdate(notes="")).aliases == ["small"]
    assert service.update(context, base.id, schemas.VersionUpdate(aliases=[])).notes == ""


@pytest.mark.parametrize("alias", ["3", "3x", "", "a b", "x" * 65, "a@b", "-a"])
def test_an_alias_that_could_be_taken_for_something_else_is_refused(alias: str) -> None:
    with pytest.raises(ValidationError):
        schemas.VersionUpdate(aliases=[alias])


def test_a_base_is_found_by_alias_and_by_number(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder()))
    first, second = publish(context, base), publish(context, base)
    service.update(context, first.id, schemas.VersionUpdate(aliases=["champion"]))
    assert service.resolve(context, "support@champion").id == first.id
    assert service.resolve(context, "support@2").id == second.id
    assert service.folder(context, "support@champion") == context.settings.home / first.path
    with pytest.raises(AliasMissing, match="no alias or version “best”"):
        service.resolve(context, "support@best")


def test_versions_come_in_pages(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder()))
    made = [publish(context, base) for _ in range(3)]
    model_id = made[0].model_id
    first = service.versions(context, model_id, PageQuery(limit=2))
    assert [each.number for each in first.items] == [3, 2]
    rest = service.versions(context, model_id, PageQuery(limit=2, cursor=first.next_cursor))
    assert ([each.number for each in rest.items], rest.next_cursor) == ([1], None)


def test_a_lineage_names_its_models(context: Context, make_folder: MakeFolder) -> None:
    base = service.resolve(context, str(make_folder("tiny")))
    tuned = publish(context, base)
    link(context.session, Ref(kind="model_version", id=base.id), Ref(kind="model_version", id=tuned.id), "base")
    nodes = service.lineage(context, tuned.id).nodes
    assert [(node.label, node.detail) for node in nodes] == [("support v1", "tuned"), ("tiny v1", "base")]
