// The page of `hpcwise serve`. State comes in by Server-Sent Events; what is shown follows from it alone.
const $ = (id) => document.getElementById(id);
const LIVE = ["growing", "running"];
const WORDS = { growing: "being written", running: "being made", done: "ready", failed: "failed", cancelled: "cancelled", submitted: "waiting", withdrawn: "withdrawn" };
const SHOT = { finished: "ready", running: "being made", assigned: "next", ready: "waits for a worker", waiting: "waits", twin: "waits for its twin", paused: "paused", pausing: "paused", quarantined: "failed", dropped: "dropped", cancelling: "stopping" };
const DOING = { speech: "speaking", detect: "looking", encode: "reading", sketch: "drawing", denoise: "drawing", decode: "developing", sync: "lip sync", upscale: "enlarging" };
const SIZES = {
  "16:10": ["320x200", "640x400", "1280x800"], "16:9": ["384x216", "640x360", "1280x720"],
  "1:1": ["256x256", "480x480", "960x960"], "9:16": ["216x384", "360x640", "720x1280"],
};
let site = { suffixes: [], most_bytes: 0 };
let overview = null;
let view = null; // of the film that is shown
let pictures = {}; // of its shots that are being made: shot -> tag
let shownFilm = "";
let source = null;
let file = null;

// --- words ------------------------------------------------------------------------------------------------

function seconds(s) {
  if (s === null || s === undefined) return "–";
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  const whole = Math.round(s), h = Math.floor(whole / 3600), m = Math.floor((whole % 3600) / 60);
  return h ? `${h} h ${m} min` : whole % 60 ? `${m} min ${whole % 60} s` : `${m} min`;
}
const money = (usd) => (usd === 0 ? "$0" : usd < 0.0001 ? "< $0.0001" : usd < 0.01 ? `$${usd.toFixed(4)}` : `$${usd.toFixed(2)}`);
// A request's id without the digits that tell it from others.
const plainName = (id) => id.replace(/-[0-9a-f]{8}(-[0-9]+)?$/, "");
const signed = (s) => `${s < 0 ? "−" : "+"}${Math.abs(s).toFixed(1)} s`;
function text(node, value) { if (node.textContent !== value) node.textContent = value; }
function show(node, on) { if (node.hidden === on) node.hidden = !on; }
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
function svg(tag, attributes = {}, words = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (words) node.textContent = words;
  return node;
}

// --- asking -----------------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { "X-Hpcwise": "1", ...options.headers } });
  } catch {
    throw new Error("The server does not answer. Is `hpcwise serve` still running?");
  }
  if (answer.status === 401) location.reload();
  if (answer.ok) return answer.json();
  const words = await answer.text();
  let said = words;
  try { said = JSON.parse(words).error; } catch { /* plain words of the guard */ }
  throw new Error(said || `The server refused (${answer.status}).`);
}

function listen() {
  source?.close();
  source = new EventSource(`/api/events?film=${encodeURIComponent(shownFilm)}`);
  source.addEventListener("overview", (event) => { overview = JSON.parse(event.data); drawOverview(); });
  source.addEventListener("film", (event) => {
    const news = JSON.parse(event.data);
    if (news.row.request_id === shownFilm) { view = news; drawFilm(); }
  });
  source.addEventListener("pictures", (event) => {
    const news = JSON.parse(event.data);
    if (news.request_id === shownFilm) { pictures = news.tags; if (view) drawShots(); }
  });
  source.onopen = () => { if (overview) drawOverview(); };
  source.onerror = () => {
    $("head").className = "pill lost";
    text($("head-text"), "reconnecting …");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

// --- head and list ----------------------------------------------------------------------------------------

function drawOverview() {
  const waits = overview.pending.length + overview.rows.filter((row) => LIVE.includes(row.state)).length;
  $("head").className = `pill ${overview.head}`;
  text($("head-text"), overview.head === "running" ? (waits ? "at work" : "ready") : overview.head === "failed" ? "the head failed" : waits ? "no head runs" : "idle");
  show($("head-start"), overview.head !== "running" && waits > 0);
  text($("banner"), overview.head === "running" ? "" : overview.note);
  show($("banner"), overview.head !== "running" && overview.note !== "");
  const rows = [
    ...overview.pending.map((id) => ({ request_id: id, name: id, state: "submitted", slo: "waits for the head", film_s: 0 })),
    ...overview.rows.filter((row) => row.workflow !== "graph"),
  ];
  show($("none"), rows.length === 0);
  const list = $("list");
  const old = new Map([...list.children].map((item) => [item.dataset.id, item]));
  rows.forEach((row, place) => {
    let item = old.get(row.request_id);
    old.delete(row.request_id);
    if (!item) {
      item = make("li", {}, make("a", { href: `#film=${row.request_id}` }, make("span", { class: "poster" }), make("span", { class: "name" }), make("span", {}), make("span", { class: "what" })));
      item.dataset.id = row.request_id;
    }
    const [poster, name, now, what] = item.firstChild.children;
    if (row.state === "done" && !poster.firstChild) {
      const picture = make("img", { alt: "", src: `/films/${row.request_id}/poster.png` });
      picture.onerror = () => picture.removeAttribute("src");
      poster.append(picture);
    }
    text(name, row.state !== "submitted" && row.name ? row.name : plainName(row.request_id));
    const share = row.shots ? Math.round((100 * row.shots_done) / row.shots) : 0;
    text(now, row.state === "running" ? `${share} %` : WORDS[row.state] || row.state);
    now.className = `now state-${row.state}`;
    text(what, [row.slo, row.film_s ? `${Math.round(row.film_s)} s of film` : "", row.cost_usd ? money(row.cost_usd) : ""].filter(Boolean).join(" · "));
    if (row.request_id === shownFilm) item.firstChild.setAttribute("aria-current", "page");
    else item.firstChild.removeAttribute("aria-current");
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] || null);
  });
  for (const item of old.values()) item.remove();
  const mine = rows.find((row) => row.request_id === shownFilm);
  if (shownFilm && !view) {
    text($("film-title"), mine?.state !== "submitted" && mine?.name ? mine.name : plainName(shownFilm));
    const waiting = overview.pending.includes(shownFilm);
    text($("film-line"), waiting ? "It waits for the head." : mine ? "" : "There is no such film here.");
    text($("veil-text"), waiting ? "It waits for the head …" : mine ? "One moment …" : "There is no such film here.");
    show($("cancel"), waiting);
  }
}

// --- the player -------------------------------------------------------------------------------------------

const video = $("video");
const player = { kind: "", hls: null, version: 0, position: 0, captions: false, started: false };
window.hpcwisePlayer = { stalls: [], errors: [] }; // what a test, or a person with a console, wants to know

function stopPlayer() {
  player.hls?.destroy();
  player.hls = null;
  video.querySelectorAll("track").forEach((track) => track.remove());
  video.removeAttribute("src");
  video.load();
  Object.assign(player, { kind: "", version: 0, position: 0, started: false });
  $("quality").replaceChildren();
  show($("quality-box"), false);
  show($("veil"), true);
  show($("better"), false);
}

function play(kind, wanted = false) {
  const keep = video.currentTime, going = player.kind !== "" && !video.paused;
  const first = player.kind === "";
  if (!first) stopPlayer();
  player.kind = kind;
  player.version = view.film_version;
  const base = `/films/${shownFilm}`;
  if (kind === "file") {
    const track = make("track", { kind: "subtitles", srclang: "en", label: "English", src: `${base}/film.vtt?v=${view.film_version}` });
    track.addEventListener("load", lift);
    video.append(track);
    video.src = `${base}/film.mp4?v=${view.film_version}`;
    if (keep) video.currentTime = keep;
  } else if (window.Hls?.isSupported()) {
    const hls = new window.Hls({ lowLatencyMode: true, enableWorker: false, enableCEA708Captions: false, startPosition: 0, liveSyncDurationCount: 1, liveMaxLatencyDurationCount: Infinity, backBufferLength: 120, testBandwidth: false, abrEwmaDefaultEstimate: 4e6, manifestLoadPolicy: retries(), playlistLoadPolicy: retries(), fragLoadPolicy: retries() });
    player.hls = hls;
    hls.on(window.Hls.Events.ERROR, (_, data) => {
      window.hpcwisePlayer.errors.push(`${data.details}${data.fatal ? " (fatal)" : ""}`);
      if (!data.fatal) return;
      if (data.type === window.Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
      else setTimeout(() => { if (player.hls === hls) hls.startLoad(); }, 1000);
    });
    hls.on(window.Hls.Events.MANIFEST_PARSED, drawQuality);
    hls.on(window.Hls.Events.LEVEL_SWITCHED, drawQuality);
    hls.on(window.Hls.Events.SUBTITLE_TRACKS_UPDATED, () => setCaptions());
    hls.on(window.Hls.Events.SUBTITLE_FRAG_PROCESSED, lift);
    hls.loadSource(`${base}/live/master.m3u8`);
    hls.attachMedia(video);
  } else {
    video.src = `${base}/live/master.m3u8`;
  }
  setCaptions();
  // A film that is made now plays by itself; one from the shelf waits to be asked.
  if ((first && kind === "live") || going || wanted) video.play().catch(() => { video.muted = true; return video.play(); }).catch(() => { video.muted = false; });
}
function retries() {
  const retry = { maxNumRetry: 30, retryDelayMs: 500, maxRetryDelayMs: 2000 };
  return { default: { maxTimeToFirstByteMs: 10000, maxLoadTimeMs: 20000, timeoutRetry: retry, errorRetry: retry } };
}

// Which rendition is played, where there are several; the player chooses unless a person does.
function drawQuality() {
  const levels = player.hls?.levels || [], menu = $("quality");
  const at = levels[player.hls?.currentLevel], size = (level) => `${level.width}×${level.height}`;
  // hls.js counts from the smallest; here the largest stands first.
  const choices = [[-1, `auto${at ? ` (${size(at)})` : ""}`], ...levels.map((level, i) => [i, size(level)]).reverse()];
  if (menu.options.length !== choices.length) menu.replaceChildren(...choices.map(([value]) => make("option", { value })));
  choices.forEach(([, words], i) => text(menu.options[i], words));
  show($("quality-box"), levels.length > 1);
}
$("quality").addEventListener("change", () => { if (player.hls) player.hls.nextLevel = Number($("quality").value); });

function setCaptions() {
  $("captions").setAttribute("aria-pressed", String(player.captions));
  if (player.hls) {
    player.hls.subtitleDisplay = player.captions;
    if (player.hls.subtitleTracks.length) player.hls.subtitleTrack = player.captions ? 0 : -1;
  }
  for (const track of video.textTracks) if (track.kind === "subtitles" || track.kind === "captions") track.mode = player.captions ? "showing" : "disabled";
}
// At the top of the picture: at its foot stand the words that are drawn into it.
function lift() {
  for (const track of video.textTracks) for (const cue of track.cues || []) if (cue.line !== 0) cue.line = 0;
}
video.textTracks.addEventListener("addtrack", (event) => { event.track.addEventListener("cuechange", lift); setCaptions(); });
$("captions").addEventListener("click", () => { player.captions = !player.captions; setCaptions(); });
video.addEventListener("playing", () => { player.started = true; show($("veil"), false); if (view) drawFilm(); });
video.addEventListener("loadeddata", () => show($("veil"), false));
video.addEventListener("waiting", () => {
  if (!player.started || video.seeking || video.ended) return;
  const at_s = video.currentTime, began = performance.now(), ranges = video.buffered;
  const stall = { at_s, buffered_s: ranges.length ? ranges.end(ranges.length - 1) : 0, made_s: view?.play?.duration_s || 0, lasted_s: null };
  window.hpcwisePlayer.stalls.push(stall);
  const over = () => { stall.lasted_s = (performance.now() - began) / 1000; };
  for (const kind of ["playing", "ended"]) video.addEventListener(kind, over, { once: true });
});
video.addEventListener("timeupdate", drawPlayed);
video.addEventListener("loadedmetadata", () => { if (video.videoWidth) video.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`; });
video.addEventListener("ended", () => { if (view) drawFilm(); });
$("better-go").addEventListener("click", () => play("file", true));

// --- the film ---------------------------------------------------------------------------------------------

function drawFilm() {
  const row = view.row, live = LIVE.includes(row.state), made = view.play?.duration_s || 0;
  const title = view.title || row.name || plainName(row.request_id);
  text($("film-title"), title);
  document.title = `${title} – hpcwise`;
  text($("film-line"), [WORDS[row.state] || row.state, row.slo, row.request_id].join(" · "));
  text($("trouble"), row.state === "failed" ? `It could not be made: ${row.reason || "no reason was given"}` : "");
  show($("trouble"), row.state === "failed");
  show($("cancel"), live);
  show($("receipt"), view.shots.length > 0);
  $("receipt").href = `/api/requests/${row.request_id}/receipt`;
  show($("download"), view.film_version > 0);
  $("download").href = `/films/${row.request_id}/film.mp4?save`;
  if (!player.kind) {
    if (view.film_version > 0) play("file");
    else if (view.play) play("live");
    else text($("veil-text"), row.state === "failed" ? "There is nothing to play." : row.state === "cancelled" ? "It was cancelled before its first shot was ready." : view.shots.length ? "The first shot is being made …" : "The document is being read …");
  }
  const onAir = player.kind === "live" && live && (!view.complete || made < row.film_s - 0.1);
  show($("live-badge"), onAir && player.started);
  show($("veil").querySelector(".spin"), live);
  // A film that is being watched live is not torn away under its viewer's eyes: the better one is offered.
  const better = view.film_version > 0 && (player.kind === "live" ? !onAir || video.ended : view.film_version > player.version);
  show($("better"), better && view.shots.some((shot) => shot.remade) && player.version < view.film_version);
  const total = Math.max(row.film_s, made, 0.001);
  $("made").style.transform = `scaleX(${Math.min(1, made / total)})`;
  $("meter").setAttribute("aria-valuenow", String(Math.round(Math.min(100, (100 * made) / total))));
  text($("made-text"), row.state === "done" ? "The film is ready." : "");
  drawPlayed();
  drawFacts(row, made);
  drawShots();
  timeline.due();
}

function drawPlayed() {
  if (!view) return;
  const total = Math.max(view.row.film_s, view.play?.duration_s || 0, 0.001);
  $("played").style.transform = `scaleX(${Math.min(1, video.currentTime / total)})`;
  let start = 0;
  view.shots.forEach((shot, i) => {
    const item = $("shots").children[i];
    const now = player.started && video.currentTime >= start && video.currentTime < start + shot.film_s;
    item?.firstElementChild.classList.toggle("playing", now);
    start += shot.film_s;
  });
}

function drawFacts(row, made) {
  const workers = new Set(view.shots.map((shot) => (LIVE.includes(row.state) && shot.work?.worker) || shot.worker).filter(Boolean));
  const lowered = view.shots.filter((shot) => shot.degraded).length;
  const facts = [
    ["First frame", row.ttff_s === null ? "–" : `after ${seconds(row.ttff_s)}`],
    ["Made", row.film_s || made ? `${seconds(made)} of ${seconds(Math.max(row.film_s, made))}` : "–"],
    [row.state === "done" ? "Took" : "Ready in", row.state === "done" ? seconds(row.age_s) : LIVE.includes(row.state) ? seconds(row.eta_s) : "–"],
    ["Slack", view.play && row.slo !== "batch" ? signed(view.play.min_slack_s) : "–"],
    ["Quality", lowered ? `${lowered} of ${view.shots.length} lowered` : view.shots.length ? "best" : "–"],
    ["Workers", workers.size ? String(workers.size) : "–"],
    ["Cost", money(row.cost_usd)],
  ];
  const box = $("facts");
  while (box.children.length < facts.length) box.append(make("div", {}, make("dt"), make("dd")));
  facts.forEach(([name, value], i) => { text(box.children[i].children[0], name); text(box.children[i].children[1], value); });
}

function drawShots() {
  const box = $("shots");
  show($("no-shots"), view.shots.length === 0);
  while (box.children.length > view.shots.length) box.lastChild.remove();
  while (box.children.length < view.shots.length) {
    const item = $("shot-template").content.cloneNode(true).firstElementChild;
    const number = box.children.length;
    item.firstElementChild.addEventListener("click", () => explain(number));
    box.append(item);
  }
  view.shots.forEach((shot, i) => {
    const item = box.children[i], find = (name) => item.querySelector(name);
    const done = shot.state === "finished";
    const work = LIVE.includes(view.row.state) && !done ? shot.work : null;
    const state = done && shot.remade ? "made again" : done && shot.cache_hit ? "kept from before" : (work && DOING[work.stage]) || SHOT[shot.state] || shot.state;
    text(find(".number"), String(shot.shot + 1));
    text(find(".tier"), shot.tier);
    find(".tier").classList.toggle("low", shot.degraded);
    text(find(".state"), state);
    find(".frame").style.aspectRatio = `${shot.width} / ${shot.height}`;
    const slack = find(".slack");
    const left = shot.deadline_s === null || !LIVE.includes(view.row.state) ? null : shot.deadline_s - view.row.age_s;
    text(slack, shot.slack_s !== null ? signed(shot.slack_s) : left === null ? "" : left < 0 ? `${seconds(-left)} late` : `due in ${seconds(left)}`);
    slack.className = `slack ${(shot.slack_s ?? left ?? 0) < 0 ? "late" : shot.slack_s === null ? "" : "ahead"}`;
    text(find(".more"), [seconds(shot.film_s), work?.worker || shot.worker].filter(Boolean).join(" · "));
    const steps = work?.steps || 0;
    text(find(".steps"), steps ? `step ${work.step} of ${steps}${work.saved ? `, ${Math.round(100 * work.saved)} % saved` : ""}` : "");
    show(find(".steps"), steps > 0);
    find(".bar .kept").style.transform = `scaleX(${steps ? work.saved : 0})`;
    find(".bar .now").style.transform = `scaleX(${steps ? work.step / steps : shot.state === "running" ? shot.progress : 0})`;
    drawPicture(find("img"), shot, work);
    item.firstElementChild.title = `${shot.model}${shot.why ? `: ${shot.why}` : ""}`;
  });
  drawVeil();
}

// Before anything can be played: the first shot as far as it is drawn.
function drawVeil() {
  const first = view.shots.find((shot) => shot.state !== "finished"), work = first?.work, tag = pictures[first?.shot];
  text($("veil-steps"), work?.steps && LIVE.includes(view.row.state) ? `${DOING[work.stage] || work.stage}, step ${work.step} of ${work.steps}` : "");
  if (player.kind || !LIVE.includes(view.row.state) || !work) return;
  if (tag && $("veil-picture").dataset.tag !== tag) {
    $("veil-picture").dataset.tag = tag;
    $("veil-picture").src = `/pictures/${shownFilm}/${first.shot}.jpg?${tag}`;
    $("veil-picture").onload = () => show($("veil-picture"), true);
    $("veil-picture").onerror = () => show($("veil-picture"), false);
  }
}

// The shot's thumbnail once it has one; before, what its worker sees of it after the last few steps.
function drawPicture(picture, shot, work) {
  const ready = shot.hashes.length > 0 && shot.key !== "", tag = pictures[shot.shot];
  const source = ready ? `/thumbs/${shot.key}/0.jpg` : work && tag ? `/pictures/${shownFilm}/${shot.shot}.jpg?${tag}` : "";
  // Between the loop's end and the thumbnail the last of what was seen stays.
  if (source && picture.dataset.source !== source) {
    picture.dataset.source = source;
    picture.onload = () => { picture.hidden = false; picture.classList.toggle("so-far", !ready); };
    picture.onerror = () => { picture.hidden = true; }; // replaced in the meantime: the next one is told of soon
    picture.src = source;
    picture.alt = ready ? "" : "Preview of what is being drawn. ";
  }
}

async function explain(shot) {
  text($("why-title"), shot === null ? "Why the film is where it is" : `Shot ${shot + 1}`);
  text($("why-text"), "One moment …");
  $("why-list").replaceChildren();
  show($("why-box"), true);
  $("why-title").focus();
  $("why-box").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  try {
    const said = await ask(`/api/requests/${shownFilm}/explain${shot === null ? "" : `?shot=${shot}`}`);
    text($("why-text"), said.summary);
    $("why-list").replaceChildren(...said.reasons.slice(0, 60).map((reason) => make("li", {},
      make("strong", {}, `${reason.stage}${reason.shot >= 0 && shot === null ? ` of shot ${reason.shot + 1}` : ""}: `),
      [reason.text, reason.quality, reason.slack_s === null ? "" : `slack ${signed(reason.slack_s)}`].filter(Boolean).join("; "))));
  } catch (error) { text($("why-text"), error.message); }
}
$("why-all").addEventListener("click", () => explain(null));
$("why-close").addEventListener("click", () => { show($("why-box"), false); $("why-all").focus(); });
$("cancel").addEventListener("click", () => { $("sure").returnValue = "no"; $("sure").showModal(); });
$("sure").addEventListener("close", async () => {
  if ($("sure").returnValue !== "yes") return;
  $("cancel").disabled = true;
  try { await ask(`/api/requests/${shownFilm}/cancel`, { method: "POST" }); } catch (error) { text($("trouble"), error.message); show($("trouble"), true); }
  $("cancel").disabled = false;
});

// --- timeline: the data of `hpcwise replay`, drawn as its Gantt picture is ---------------------------------

const STAGES = { document: "document", screenplay: "screenplay", image: "set", speech: "speech", animate: "film" };
const timeline = {
  state: "", last: 0, timer: 0,
  due() {
    const mark = `${view.row.state}/${view.row.tasks_done}/${view.row.running}/${view.film_version}/${view.play?.frames}`;
    if (mark === this.state || this.timer) return;
    const film = shownFilm;
    this.timer = setTimeout(async () => {
      this.last = Date.now();
      this.state = mark;
      try { const data = await ask(`/api/requests/${film}/timeline`); if (film === shownFilm) draw(data); } catch { /* not in the journal yet: the next change asks again */ }
      this.timer = 0;
      if (film === shownFilm && view) this.due();
    }, Math.max(0, 1500 - (Date.now() - this.last)));
  },
};
function draw(data) {
  if (!data.slices.length) return;
  const root = $("timeline"), WIDTH = 960, LEFT = 78, RIGHT = 12, LANE = 26;
  const lanes = [...new Set(data.slices.map((slice) => slice.worker))].sort().slice(0, 40);
  const begin = data.start_s, span = Math.max(0.5, data.end_s - begin);
  const x = (at) => LEFT + (Math.max(0, Math.min(span, at - begin)) / span) * (WIDTH - LEFT - RIGHT);
  const top = 6, film = data.requests[0]?.segments.length ? 120 : 0;
  const bottom = top + Math.max(1, lanes.length) * LANE, height = bottom + (film ? film + 14 : 0) + 24;
  const parts = [];
  const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600].find((s) => span / s <= 10) || 86400;
  for (let at = 0; at <= span; at += step) {
    parts.push(svg("line", { x1: x(begin + at), x2: x(begin + at), y1: top, y2: height - 22, class: "t-grid" }));
    parts.push(svg("text", { x: x(begin + at), y: height - 7, "text-anchor": "middle" }, at >= 120 ? `${+(at / 60).toFixed(1)} min` : `${at} s`));
  }
  lanes.forEach((worker, i) => {
    const y = top + i * LANE;
    for (const life of data.workers.filter((one) => one.worker === worker)) {
      const end = life.ended_s ?? data.end_s;
      parts.push(svg("rect", { x: x(life.joined_s), y: y + 2, width: Math.max(1, x(end) - x(life.joined_s)), height: LANE - 4, rx: 4, class: "t-life" }));
    }
    for (const load of data.loadings.filter((one) => one.worker === worker))
      parts.push(svg("rect", { x: x(load.start_s), y: y + 6, width: Math.max(1, x(load.end_s) - x(load.start_s)), height: LANE - 12, class: "t-load" }));
    parts.push(svg("text", { x: LEFT - 8, y: y + LANE / 2 + 4, "text-anchor": "end", class: "t-lane" }, worker.length > 11 ? `…${worker.slice(-10)}` : worker));
  });
  const stages = new Set();
  let late = 0;
  for (const slice of data.slices) {
    const lane = lanes.indexOf(slice.worker);
    if (lane < 0) continue;
    const stage = STAGES[slice.stage] ? slice.stage : "other";
    stages.add(stage);
    const bad = ["failed", "lost", "cancelled"].includes(slice.outcome), low = ["medium", "low", "static"].includes(slice.tier);
    const bar = svg("rect", { x: x(slice.start_s), y: top + lane * LANE + 4, width: Math.max(1.5, x(slice.end_s) - x(slice.start_s) - 0.6), height: LANE - 8, rx: 2.5, class: `f-${stage}${low ? " t-low" : ""}${bad ? " t-bad" : ""}` });
    bar.append(svg("title", {}, `${STAGES[slice.stage] || slice.stage}${slice.shot >= 0 ? ` of shot ${slice.shot + 1}` : ""}, ${slice.tier}, ${seconds(slice.end_s - slice.start_s)}, ${slice.outcome}`));
    parts.push(bar);
    if (slice.outcome === "finished" && !slice.remake && slice.end_s > slice.deadline_s) {
      late += 1;
      const from = x(Math.max(slice.start_s, slice.deadline_s));
      parts.push(svg("rect", { x: from, y: top + lane * LANE + LANE - 6, width: Math.max(1.5, x(slice.end_s) - from), height: 3, class: "t-late" }));
    }
  }
  const track = data.requests[0];
  if (film) {
    const floor = bottom + film + 8, last = track.segments.at(-1), length = Math.max(1e-6, last.film_s + last.frames / track.fps);
    const y = (made) => floor - (made / length) * (film - 14);
    let made = `M${x(track.segments[0].at_s)} ${floor}`, clock = track.segments[0].at_s, playing = `M${x(clock)} ${floor}`;
    for (const segment of track.segments) {
      const end = segment.film_s + segment.frames / track.fps;
      made += ` L${x(segment.at_s)} ${y(segment.film_s)} L${x(segment.at_s)} ${y(end)}`;
      if (segment.at_s > clock) { clock = segment.at_s; playing += ` L${x(clock)} ${y(segment.film_s)}`; }
      const room = data.end_s - clock;
      const share = Math.max(0, Math.min(1, room / (segment.frames / track.fps)));
      clock += segment.frames / track.fps;
      if (share > 0) playing += ` L${x(clock)} ${y(segment.film_s + share * (segment.frames / track.fps))}`;
    }
    made += ` L${x(data.end_s)} ${y(length)} L${x(data.end_s)} ${floor} Z`;
    parts.push(svg("path", { d: made, class: "t-made" }), svg("path", { d: playing, class: "t-play" }));
    parts.push(svg("text", { x: LEFT - 8, y: y(length) + 8, "text-anchor": "end" }, `${Math.round(length)} s`), svg("text", { x: LEFT - 8, y: floor, "text-anchor": "end" }, "of film"));
  }
  root.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
  root.replaceChildren(...parts);
  const marks = [...stages].map((stage) => [`l-${stage}`, STAGES[stage] || "task"]);
  if (data.loadings.length) marks.push(["l-load", "loading a model"]);
  if (late) marks.push(["l-late", "after its deadline"]);
  $("legend").replaceChildren(...marks.map(([kind, name]) => make("span", {}, make("i", { class: kind, "aria-hidden": "true" }), name)));
  const busy = data.slices.reduce((sum, slice) => sum + slice.end_s - slice.start_s, 0);
  text($("timeline-desc"), `${data.slices.length} pieces of work on ${lanes.length} worker${lanes.length === 1 ? "" : "s"} in ${seconds(span)}${lanes.length ? `, busy ${Math.round((100 * busy) / span / lanes.length)} %` : ""}${late ? `, ${late} after its deadline` : ""}.${film ? " Below: the film that could be played (area) and playback itself (dashes)." : ""}`);
}

// --- handing in -------------------------------------------------------------------------------------------

function choose(chosen) {
  file = chosen;
  $("drop").classList.toggle("chosen", file !== null);
  text($("file-name"), file ? file.name : "Choose a document");
  text($("file-hint"), file ? `${Math.max(1, Math.round(file.size / 1024)).toLocaleString()} KB` : `or drop it here: ${site.suffixes.filter((s) => s !== ".markdown" && s !== ".text").map((s) => s.slice(1)).join(", ")}`);
  if (file) { $("path").value = ""; complain(""); }
}
function complain(words) { text($("new-error"), words); show($("new-error"), words !== ""); }
$("file").addEventListener("change", () => choose($("file").files[0] || null));
$("path").addEventListener("input", () => { if ($("path").value) { $("file").value = ""; choose(null); } });
for (const kind of ["dragover", "dragleave", "drop"]) $("drop").addEventListener(kind, (event) => {
  event.preventDefault();
  $("drop").classList.toggle("over", kind === "dragover");
  if (kind === "drop" && event.dataTransfer.files.length) { $("file").value = ""; choose(event.dataTransfer.files[0]); }
});
$("duration").addEventListener("change", () => { show($("duration-text"), $("duration").value === ""); if (!$("duration").value) $("duration-text").focus(); });
for (const choice of document.getElementsByName("when")) choice.addEventListener("change", () => show($("by-box"), document.querySelector("[name=when]:checked").value === "by"));

function form() {
  const fields = new URLSearchParams(), when = document.querySelector("[name=when]:checked").value;
  const shape = document.querySelector("[name=shape]:checked").value;
  const put = (name, value) => { if (value) fields.set(name, value); };
  const path = $("path").value.trim(), spec = /\.ya?ml$/i.test(path);
  if (path) put("path", path); else put("file", file?.name);
  put("name", $("name").value.trim());
  put("fps", $("fps").value);
  put("seed", $("seed").value);
  if ($("again").checked) put("again", "1");
  if (!spec) { // a job spec says these itself
    put("duration", $("duration").value || $("duration-text").value.trim());
    put("resolution", SIZES[shape][Number($("size").value)]);
    if (when === "by") { put("by", $("by").value); put("zone", $("zone").value.trim()); } else put(when, "1");
  }
  return fields;
}

function send(fields) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/requests?${fields}`);
    request.setRequestHeader("X-Hpcwise", "1");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => { if (event.lengthComputable) $("upload").value = event.loaded / event.total; };
    request.onerror = () => reject(new Error("The server does not answer, or broke off. Is the file too large?"));
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { answer = { error: request.responseText }; }
      if (request.status < 300) resolve(answer); else reject(new Error(answer.error || `The server refused (${request.status}).`));
    };
    request.send(fields.has("file") ? file : null);
  });
}

$("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  complain("");
  const path = $("path").value.trim();
  if (!file && !path) { complain("Choose a document first, or name one on this machine."); $("file").focus(); return; }
  if (file && !path && file.size > site.most_bytes) { complain(`The file is larger than ${site.most_bytes >> 20} MiB. Name its path on this machine instead.`); return; }
  $("go").disabled = true;
  text($("go"), "Handing in …");
  $("upload").value = 0;
  show($("sending"), Boolean(file));
  try {
    const handed = await send(form());
    location.hash = `film=${handed.request_id}`;
    $("file").value = "";
    $("again").checked = false;
    choose(null);
  } catch (error) { complain(error.message); }
  $("go").disabled = false;
  text($("go"), "Make the film");
  show($("sending"), false);
});
$("head-start").addEventListener("click", async () => {
  $("head-start").disabled = true;
  try { await ask("/api/head", { method: "POST" }); } catch (error) { text($("banner"), error.message); show($("banner"), true); }
  $("head-start").disabled = false;
});

// --- which film -------------------------------------------------------------------------------------------

function route() {
  const film = new URLSearchParams(location.hash.slice(1)).get("film") || "";
  const chosen = /^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$/.test(film) ? film : "";
  if (chosen === shownFilm && source) return;
  shownFilm = chosen;
  view = null;
  pictures = {};
  timeline.state = "";
  stopPlayer();
  window.hpcwisePlayer = { stalls: [], errors: [] };
  $("shots").replaceChildren();
  $("facts").replaceChildren();
  $("timeline").replaceChildren();
  $("legend").replaceChildren();
  for (const id of ["timeline-desc", "film-title", "film-line"]) text($(id), "");
  delete $("veil-picture").dataset.tag;
  for (const id of ["veil-picture", "why-box", "download", "receipt", "cancel", "trouble", "live-badge", "better"]) show($(id), false);
  text($("veil-text"), "The document is being read …");
  document.body.classList.toggle("watching", shownFilm !== "");
  show($("film"), shownFilm !== "");
  show($("welcome"), shownFilm === "");
  document.title = "hpcwise";
  if (overview) drawOverview();
  listen();
  if (shownFilm) { $("main").focus({ preventScroll: true }); scrollTo({ top: 0 }); }
}
addEventListener("hashchange", route);
$("zone").value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
ask("/api/site").then((found) => { site = found; $("file").accept = site.suffixes.join(","); choose(file); }).catch((error) => complain(error.message));
route();
