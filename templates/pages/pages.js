// The account and admin pages: everything they show comes from the REST routes, with this browser's own login.
const words = JSON.parse(document.getElementById("words").textContent);
const base = document.body.dataset.base;
const app = document.getElementById("app");
const notice = document.querySelector(".notice");
const alarm = document.querySelector(".error");

const word = (key, values = {}) =>
  Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`{${name}}`, value), words[`pages.${key}`] ?? key);
const when = (time) => (time ? new Date(time).toLocaleString(document.documentElement.lang) : "–");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function say(text, failed = false) {
  notice.hidden = failed || !text;
  alarm.hidden = !failed || !text;
  (failed ? alarm : notice).replaceChildren(...[text].flat());
}

async function call(method, path, body) {
  const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1] ?? "";
  const headers = { "X-XSRFToken": decodeURIComponent(xsrf), "Content-Type": "application/json" };
  const answer = await fetch(base + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const content = answer.status === 204 ? null : await answer.json();
  if (answer.status === 401) location.assign(`${base}login?next=${encodeURIComponent(location.pathname)}`);
  if (!answer.ok) throw new Error(content.detail);
  return content;
}

/** Runs an action with its button disabled, and says how it ended. */
function action(work, done = "") {
  return async (event) => {
    event.preventDefault();
    const button = event.submitter ?? event.currentTarget;
    button.disabled = true;
    try {
      say((await work(event)) ?? done);
    } catch (error) {
      say(error.message, true);
    } finally {
      button.disabled = false;
    }
  };
}

const field = (label, attributes) => make("label", {}, label, make("input", attributes));
const values = (event) => Object.fromEntries(new FormData(event.target));

function table(heads, rows, empty) {
  if (rows.length === 0) return make("p", { class: "soft" }, empty);
  const head = make("tr", {}, ...heads.map((name) => make("th", { scope: "col" }, name)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  return make("div", { class: "table" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

function section(name, ...children) {
  const heading = make("h2", { id: name }, word(name));
  return make("section", { "aria-labelledby": name }, heading, ...children);
}

function choice(options, chosen, attributes, change) {
  const select = make("select", attributes);
  for (const [value, label] of options) select.append(new Option(label, value, value === chosen, value === chosen));
  if (change) select.addEventListener("change", () => change(select));
  return select;
}

/** A secret that is shown this once, with a button that copies it. */
function secret(label, text) {
  const copy = make("button", { onclick: async () => { await navigator.clipboard.writeText(text); copy.textContent = word("copied"); } }, word("copy"));
  return [make("div", {}, label), make("code", { class: "secret" }, text), " ", copy];
}

async function account() {
  const me = await call("GET", "api/auth/me");
  const may = (permission) => me.permissions.includes(permission);
  const parts = [];
  if (me.email === null) {
    parts.push(make("p", {}, word("owner_account")));
  } else {
    const save = action(async (event) => void (await call("PUT", "api/auth/me", values(event))), word("saved"));
    const facts = table([word("email"), word("role"), word("teams")], [[me.email, word(`role_${me.role}`), me.teams.map((team) => team.name).join(", ") || "–"]], "");
    const profile = make("form", { class: "row", onsubmit: save }, field(word("name"), { name: "name", value: me.name, required: true, maxlength: 128 }), make("button", {}, word("save")));
    parts.push(section("profile", facts, profile));
    const change = action(async (event) => {
      await call("PUT", "api/auth/password", values(event));
      location.assign(`${base}login`);
    });
    parts.push(section("password", make("p", { class: "soft" }, word("password_ends")), make("form", { class: "row", onsubmit: change },
      field(word("current_password"), { name: "current", type: "password", required: true, autocomplete: "current-password" }),
      field(word("new_password"), { name: "password", type: "password", required: true, minlength: 10, autocomplete: "new-password" }),
      make("button", {}, word("change")))));
  }
  if (may("tokens:write")) parts.push(await tokens(me));
  if (me.email !== null) parts.push(await logins());
  app.replaceChildren(...parts);
}

async function tokens(me) {
  const list = make("div");
  const draw = async () => {
    const { items } = await call("GET", "api/auth/tokens");
    const end = (token) => action(async () => { await call("DELETE", `api/auth/tokens/${token.id}`); await draw(); }, word("revoked"));
    list.replaceChildren(table([word("token_name"), word("allows"), word("expires"), word("last_used"), ""], items.map((token) => [
      token.name, token.permissions === null ? word("allows_all") : token.permissions.join(", "),
      token.expires_at ? when(token.expires_at) : word("never"), when(token.last_used_at),
      make("button", { onclick: end(token), "aria-label": `${word("revoke")}: ${token.name}` }, word("revoke"))]), word("no_tokens")));
  };
  const reads = me.permissions.filter((name) => name.endsWith(":read") && name !== "audit:read");
  const create = action(async (event) => {
    const { name, days, scope } = values(event);
    const made = await call("POST", "api/auth/tokens", { name, expires_in_days: days ? Number(days) : null, permissions: scope === "read" ? reads : null });
    event.target.reset();
    await draw();
    return secret(word("token_once"), made.token);
  });
  await draw();
  return section("tokens", make("p", { class: "soft" }, word("tokens_intro")), list, make("form", { class: "row", onsubmit: create },
    field(word("token_name"), { name: "name", required: true, maxlength: 128 }),
    field(word("expires_in_days"), { name: "days", type: "number", min: 1, max: 3650, value: 90 }),
    make("label", {}, word("allows"), choice([["all", word("allows_all")], ["read", word("allows_read")]], "all", { name: "scope" })),
    make("button", {}, word("create"))));
}

/** Names a browser and its system, which is what people recognise; any other program says its own name. */
function program(agent) {
  const browser = agent.match(/(Firefox|Edg|OPR|Chrome|Safari)\/(\d+)/);
  const system = agent.match(/Android|iPhone|iPad|Windows|Mac OS X|Linux/);
  return browser && system ? `${browser[1].replace("Edg", "Edge").replace("OPR", "Opera")} ${browser[2]}, ${system[0]}` : agent;
}

async function logins() {
  const list = make("div");
  const draw = async () => {
    const { items } = await call("GET", "api/auth/logins");
    const end = (login) => action(async () => { await call("DELETE", `api/auth/logins/${login.id}`); await draw(); }, word("ended"));
    list.replaceChildren(table([word("device"), word("address"), word("since"), word("last_used"), ""], items.map((login) => [
      login.current ? `${program(login.agent)} (${word("this_one")})` : program(login.agent), login.address, when(login.created_at), when(login.last_used_at),
      make("button", { onclick: end(login) }, word("end"))]), ""));
  };
  const all = action(async () => { await call("DELETE", "api/auth/logins"); location.assign(`${base}login`); });
  await draw();
  return section("logins", list, make("p", {}, make("button", { onclick: all }, word("end_all"))));
}

async function admin() {
  app.replaceChildren(await users(), await invitations(), await teams(), await database(), await audit());
}

const size = (bytes) => {
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${(bytes / 1024 ** power).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 })} ${units[power]}`;
};
const count = (number) => number.toLocaleString(document.documentElement.lang);
const ENDED = ["succeeded", "failed", "cancelled"];
const LOOK_AGAIN = 1000; // milliseconds

/** The database: its state, and its last backup and drill with a button for the next. */
async function database() {
  const facts = make("div");
  const kept = make("div");
  let waiting = null;
  const outcome = (job) => {
    if (job.state !== "succeeded") return job.error ?? job.wait_reason ?? "";
    const made = job.outcome;
    const missing = made.missing ? ` ${word("database_missing", { files: count(made.missing) })}` : "";
    return word("database_outcome", { rows: count(made.rows), files: count(made.objects), seconds: made.seconds.toFixed(1) }) + missing;
  };
  const draw = async () => {
    const now = await call("GET", "api/database");
    facts.replaceChildren(table(
      [word("database_engine"), word("database_location"), word("database_size"), word("database_pool"), word("database_revision")],
      [[`${now.engine === "sqlite" ? "SQLite" : "PostgreSQL"} ${now.version}`, now.location, size(now.size_bytes), `${now.pool.in_use} / ${now.pool.size}`,
        now.revision === now.head ? now.revision : `${now.revision} → ${now.head}`]], ""));
    const row = (kind) => (job) => [word(`database_${kind}`), when(job.finished_at ?? job.created_at), word(`job_${job.state}`), outcome(job),
      make("code", {}, job.outcome?.path ?? job.id)];
    kept.replaceChildren(table([word("what"), word("time"), word("state"), word("database_found"), word("database_file")],
      [...now.backups.map(row("backup")), ...now.drills.map(row("drill"))], word("database_no_backups")));
    schedule.textContent = now.backup_hours ? word("database_schedule", { hours: count(now.backup_hours), keep: count(now.backup_keep) }) : word("database_no_schedule");
    const busy = [...now.backups, ...now.drills].some((job) => !ENDED.includes(job.state));
    clearTimeout(waiting);
    if (busy) waiting = setTimeout(() => draw().catch((error) => say(error.message, true)), LOOK_AGAIN);
  };
  const begin = (path) => action(async () => { await call("POST", path); await draw(); }, word("database_begun"));
  const schedule = make("p", { class: "soft" });
  const buttons = make("p", { class: "row" }, make("button", { onclick: begin("api/database/backups") }, word("database_back_up")),
    make("button", { onclick: begin("api/database/drills") }, word("database_drill_now")));
  await draw();
  return section("database", facts, schedule, kept, buttons);
}

const ROLES = ["reviewer", "researcher", "maintainer", "admin"].map((role) => [role, word(`role_${role}`)]);

async function users() {
  const list = make("div");
  const state = { search: "", cursors: [null] };
  const draw = async () => {
    const query = new URLSearchParams({ limit: 25 });
    if (state.search) query.set("search", state.search);
    if (state.cursors.at(-1)) query.set("cursor", state.cursors.at(-1));
    const { items, next_cursor } = await call("GET", `api/auth/users?${query}`);
    const update = async (user, change) => {
      try {
        await call("PATCH", `api/auth/users/${user.id}`, change);
        say(word("saved"));
      } catch (error) {
        say(error.message, true);
      }
      await draw();
    };
    const rows = items.map((user) => [user.name, user.email,
      choice(ROLES, user.role, { "aria-label": `${word("role")}: ${user.email}` }, (select) => update(user, { role: select.value })),
      user.disabled_at ? word("disabled") : user.verified_at ? word("active") : word("unverified"), when(user.last_login_at),
      make("button", { onclick: () => update(user, { disabled: !user.disabled_at }), "aria-label": `${word(user.disabled_at ? "enable" : "disable")}: ${user.email}` }, word(user.disabled_at ? "enable" : "disable"))]);
    const turn = (change) => () => { change(); draw(); };
    const pages = make("p", { class: "row" },
      state.cursors.length > 1 ? make("button", { onclick: turn(() => state.cursors.pop()) }, word("back")) : null,
      next_cursor ? make("button", { onclick: turn(() => state.cursors.push(next_cursor)) }, word("more")) : null);
    list.replaceChildren(table([word("name"), word("email"), word("role"), word("state"), word("last_login"), ""], rows, word("no_users")), pages);
  };
  const search = action(async (event) => { Object.assign(state, { search: values(event).search, cursors: [null] }); await draw(); });
  await draw();
  return section("users", make("form", { class: "row", onsubmit: search, role: "search" }, field(word("search"), { name: "search", type: "search", maxlength: 128 }), make("button", {}, word("search"))), list);
}

async function invitations() {
  const list = make("div");
  const draw = async () => {
    const { items } = await call("GET", "api/auth/invitations");
    const end = (one) => action(async () => { await call("DELETE", `api/auth/invitations/${one.id}`); await draw(); }, word("withdrawn"));
    list.replaceChildren(table([word("role"), word("for_address"), word("expires"), ""], items.map((one) => [
      word(`role_${one.role}`), one.email ?? word("anyone"), when(one.expires_at), make("button", { onclick: end(one) }, word("withdraw"))]), word("no_invitations")));
  };
  const create = action(async (event) => {
    const { role, email } = values(event);
    const made = await call("POST", "api/auth/invitations", { role, email: email || null });
    event.target.reset();
    await draw();
    return secret(word(email ? "invitation_mailed" : "invitation_once"), new URL(base + made.path, location.href).href);
  });
  await draw();
  return section("invitations", list, make("form", { class: "row", onsubmit: create },
    make("label", {}, word("role"), choice(ROLES, "researcher", { name: "role" })),
    field(word("for_address_optional"), { name: "email", type: "email", maxlength: 254 }), make("button", {}, word("invite"))));
}

async function teams() {
  const list = make("div");
  const draw = async () => {
    const { items } = await call("GET", "api/auth/teams");
    const people = (await call("GET", "api/auth/users?limit=200")).items;
    const end = (team) => action(async () => { await call("DELETE", `api/auth/teams/${team.id}`); await draw(); }, word("deleted"));
    const save = (team, ids) => action(async () => { await call("PUT", `api/auth/teams/${team.id}/members`, { user_ids: ids() }); await draw(); }, word("saved"));
    const rows = items.map((team) => {
      const boxes = people.map((user) => make("input", { type: "checkbox", value: user.id, checked: team.members.some((member) => member.id === user.id) }));
      const ids = () => boxes.filter((box) => box.checked).map((box) => box.value);
      const members = make("details", {}, make("summary", {}, team.members.map((member) => member.name).join(", ") || word("no_members")),
        ...people.map((user, index) => make("label", {}, boxes[index], `${user.name} · ${user.email}`)), make("button", { onclick: save(team, ids) }, word("save")));
      return [team.name, members, make("code", {}, team.id), make("button", { onclick: end(team), "aria-label": `${word("delete")}: ${team.name}` }, word("delete"))];
    });
    list.replaceChildren(table([word("team"), word("members"), word("id"), ""], rows, word("no_teams")));
  };
  const create = action(async (event) => { await call("POST", "api/auth/teams", values(event)); event.target.reset(); await draw(); }, word("saved"));
  await draw();
  return section("teams", list, make("form", { class: "row", onsubmit: create }, field(word("team"), { name: "name", required: true, maxlength: 128 }), make("button", {}, word("create"))));
}

async function audit() {
  const list = make("div");
  const { items } = await call("GET", "api/auth/audit?limit=50");
  list.replaceChildren(table([word("time"), word("who"), word("what"), word("thing"), word("address")], items.map((entry) => [
    when(entry.at), entry.actor_name, `${entry.action}${Object.keys(entry.details).length ? ` ${JSON.stringify(entry.details)}` : ""}`, entry.object, entry.address]), ""));
  const verify = action(async () => {
    const found = await call("GET", "api/auth/audit/verify");
    if (!found.holds) throw new Error(word("audit_broken", { seq: found.broken_at }));
    return word("audit_holds", { entries: found.entries, head: found.head.slice(0, 12) });
  });
  return section("audit", make("p", {}, make("button", { onclick: verify }, word("audit_verify"))), list);
}

({ account, admin })[document.body.dataset.page]?.().catch((error) => say(error.message, true));
