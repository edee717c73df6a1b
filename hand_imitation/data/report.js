'use strict';
// Draws the report from the data in the page. Text from the data only ever becomes a text node.

const DATA = JSON.parse(document.getElementById('data').textContent);
const SVG = 'http://www.w3.org/2000/svg';
const byId = (id) => document.getElementById(id);
const colour = (place) => `var(--p${Math.min(place, 5)})`;
const drawn = [];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function shape(parent, tag, attributes = {}, text = null) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  parent.append(element);
  return element;
}

function swatch(place) {
  const mark = make('span', { class: 'swatch' });
  mark.style.background = colour(place);
  return mark;
}

function legend(box) {
  box.replaceChildren(...(DATA.policies.length > 1 ? DATA.policies.map((policy, place) =>
    make('span', {}, swatch(place), policy.name)) : []));
}

function number(value, digits) {
  return value === null || value === undefined ? '–' : value.toFixed(digits).replace('-', '−');
}

/** A unit as it follows a number. */
const unit = (text) => (!text || text === '°' || text === '%' ? text : ` ${text}`);

const words = (name) => name.replaceAll('_', ' ');

// ---- tooltips

const tip = byId('tip');

function showTip(event, text) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, window.innerWidth - box.width - 8);
  const above = event.clientY - box.height - 12;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above > 4 ? above : event.clientY + 18}px`;
}

function hover(element, text) {
  element.addEventListener('pointermove', (event) => showTip(event, text(event)));
  element.addEventListener('pointerleave', () => { tip.hidden = true; });
}

// ---- plots: each is drawn again when its width changes, so that letters keep their size

function plot(box, height, label, draw) {
  let last = 0;
  const again = () => {
    const width = Math.floor(box.clientWidth);
    if (width < 40) return;
    last = width;
    box.replaceChildren();
    const rows = typeof height === 'function' ? height(width) : height;
    const svg = shape(box, 'svg', { viewBox: `0 0 ${width} ${rows}`, role: 'img', 'aria-label': label });
    svg.style.height = `${rows}px`;
    draw(svg, width, rows);
  };
  again();
  new ResizeObserver(() => { if (Math.floor(box.clientWidth) !== last) again(); }).observe(box);
  return again;
}

function ticks(low, high, count) {
  const span = Math.max(high - low, 1e-9);
  const raw = span / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) {
    found.push(Math.abs(value) < step * 1e-6 ? 0 : value);
  }
  return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function timeAxis(svg, x, bottom, top, duration, width) {
  const marks = ticks(0, duration, Math.min(12, width / 75));
  for (const value of marks.values) {
    shape(svg, 'line', { x1: x(value), x2: x(value), y1: top, y2: bottom, class: 'grid' });
    shape(svg, 'text', { x: x(value), y: bottom + 17, 'text-anchor': 'middle' },
      `${value.toFixed(marks.digits)}${value === marks.values[marks.values.length - 1] ? ' s' : ''}`);
  }
}

function path(xs, ys) {
  let text = '', pen = false;
  xs.forEach((x, place) => {
    const y = ys[place];
    if (y === null || !Number.isFinite(y)) { pen = false; return; }
    text += `${pen ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  });
  return text;
}

// ---- verdict, facts, notices

function drawTop() {
  byId('title').textContent = DATA.title;
  byId('facts').replaceChildren(...DATA.facts.map((fact) => make('span', {}, fact)));
  const verdict = byId('verdict'), { state, word, headline, text, checks } = DATA.verdict;
  verdict.className = `verdict ${state}`;
  const title = make('h2');
  if (word) title.append(make('em', {}, word), ' · ');
  title.append(headline);
  verdict.append(title, ...text.map((line) => make('p', {}, line)));
  if (checks.length) {
    verdict.append(make('ul', {}, ...checks.map((check) =>
      make('li', { class: check.passed ? 'ok' : 'no' }, check.words))));
  }
  byId('notices').append(...DATA.notices.map((line) => make('p', { class: 'notice warn' }, line)));
  byId('footer').textContent = DATA.footer;
  byId('notes-list').append(...DATA.notes.flatMap(([term, text_]) =>
    [make('dt', {}, term), make('dd', {}, text_)]));
}

// ---- table of policies

function drawTable() {
  byId('policies-lead').textContent = DATA.table.lead;
  const head = make('tr', {}, make('th', { scope: 'col' }, ''));
  DATA.policies.forEach((policy, place) =>
    head.append(make('th', { scope: 'col' }, swatch(place), policy.name)));
  const body = make('tbody');
  for (const group of DATA.table.groups) {
    body.append(make('tr', { class: 'group' },
      make('th', { scope: 'rowgroup', colspan: DATA.policies.length + 1 }, group.title)));
    for (const row of group.rows) {
      const cells = row.cells.map((cell, place) => {
        const known = cell.value !== null;
        const box = make('td', row.best === place ? { class: 'best' } : {},
          make('span', { class: 'value' }, known ? number(cell.value, row.digits) : '–'));
        if (known && row.unit) box.append(make('span', { class: 'unit' }, unit(row.unit)));
        if (known && cell.low !== null && cell.low !== undefined) {
          box.append(make('span', { class: 'interval' },
            `${number(cell.low, row.digits)} to ${number(cell.high, row.digits)}`));
        }
        return box;
      });
      body.append(make('tr', {}, make('th', { scope: 'row' }, row.label), ...cells));
    }
  }
  byId('table').style.width = `${330 + 165 * DATA.policies.length}px`;
  byId('table').append(make('thead', {}, head), body);
  drawMeans();
  drawComparisons();
}

function drawMeans() {
  if (!DATA.judged) { document.querySelector('.beside').remove(); return; }
  const rows = DATA.means, policies = DATA.policies.length, each = policies > 1 ? 9 : 14;
  const high = policies * each + 13;
  plot(byId('plot-means'), rows.length * high + 24, 'Mean error of each joint, with 95% intervals',
    (svg, width, height) => {
      const left = 112, bottom = height - 22;
      const most = Math.max(1, ...rows.flatMap((row) => row.cells.map((c) => c.high ?? c.mean ?? 0)));
      const marks = ticks(0, most, Math.min(6, width / 80));
      const x = (value) => left + (value / most) * (width - left - 14);
      for (const value of marks.values) {
        shape(svg, 'line', { x1: x(value), x2: x(value), y1: 0, y2: bottom, class: value ? 'grid' : 'axis' });
        shape(svg, 'text', { x: x(value), y: bottom + 16, 'text-anchor': 'middle' }, `${value.toFixed(marks.digits)}°`);
      }
      rows.forEach((row, place) => {
        const top = place * high + 6;
        shape(svg, 'text', { x: left - 8, y: top + (policies * each) / 2 + 4, 'text-anchor': 'end' }, words(row.joint));
        row.cells.forEach((cell, policy) => {
          if (cell.mean === null) return;
          const y = top + policy * each, middle = y + (each - 1) / 2;
          shape(svg, 'rect', { x: left, y, width: Math.max(x(cell.mean) - left, 1), height: each - 1, rx: 2, fill: colour(policy) });
          if (cell.low !== null) {
            shape(svg, 'line', { x1: x(cell.low), x2: x(cell.high), y1: middle, y2: middle, class: 'whisker' });
          }
          const cover = shape(svg, 'rect', { x: 0, y: y - 1, width, height: each, fill: 'transparent' });
          hover(cover, () => `${words(row.joint)}, ${DATA.policies[policy].name}: ${number(cell.mean, 1)}°`
            + (cell.low === null ? '' : `\n95%: ${number(cell.low, 1)} to ${number(cell.high, 1)}°`));
        });
      });
    });
}

function drawComparisons() {
  const box = byId('comparisons');
  for (const comparison of DATA.comparisons) {
    box.append(make('h3', {}, `${comparison.policy} against ${comparison.against}`),
      make('p', { class: 'lead' }, comparison.lead));
    const area = make('div', { class: 'plot' });
    box.append(area);
    const rows = comparison.rows;
    plot(area, rows.length * 34 + 8, 'Differences with 95% intervals', (svg, width) => {
      const narrow = width < 560, left = narrow ? 118 : 190, right = narrow ? 92 : 220;
      const middle = left + (width - left - right) / 2, reach = (width - left - right) / 2 - 8;
      shape(svg, 'line', { x1: middle, x2: middle, y1: 2, y2: rows.length * 34, class: 'axis' });
      rows.forEach((row, place) => {
        const y = place * 34 + 18;
        const ends = row.low === null ? [row.difference] : [row.low, row.high];
        const most = Math.max(...ends.map(Math.abs), Math.abs(row.difference), 1e-9);
        const x = (value) => middle + (value / most) * reach;
        const tint = row.better === comparison.policy ? 'var(--good)'
          : row.better ? 'var(--bad)' : 'var(--faint)';
        shape(svg, 'text', { x: 0, y: y + 4, class: 'strong' }, row.label);
        if (row.low !== null) {
          shape(svg, 'line', { x1: x(row.low), x2: x(row.high), y1: y, y2: y, stroke: tint,
            'stroke-width': 5, 'stroke-linecap': 'round', opacity: .45 });
        }
        shape(svg, 'circle', { cx: x(row.difference), cy: y, r: 5, fill: tint });
        const value = `${row.difference > 0 ? '+' : ''}${number(row.difference, row.digits)}${unit(row.unit)}`;
        const outcome = row.better ? `${row.better} is better` : 'no clear difference';
        shape(svg, 'text', { x: width, y: y + 4, 'text-anchor': 'end', class: 'strong' },
          narrow ? value : `${value}, ${outcome}`);
        const area_ = shape(svg, 'rect', { x: 0, y: y - 16, width, height: 32, fill: 'transparent' });
        hover(area_, () => `${row.label}: ${value}\n${row.low === null ? 'too short for an interval'
          : `95%: ${number(row.low, row.digits)} to ${number(row.high, row.digits)}${unit(row.unit)}`}\n${outcome}`);
      });
    });
  }
}

// ---- worst moments

const film = { moment: 0, frame: 0, timer: null };

function drawMoments() {
  byId('moments-lead').textContent = DATA.moments_lead;
  if (!DATA.moments.length) { byId('film').remove(); byId('moment-tabs').remove(); return; }
  DATA.moments.forEach((moment, place) => {
    const bag = DATA.courses.length > 1 ? `${DATA.courses[moment.bag].name}, ` : '';
    const tab = make('button', { type: 'button', 'aria-pressed': 'false' },
      `${bag}${moment.title}`, make('small', {}, moment.why));
    tab.addEventListener('click', () => chooseMoment(place));
    byId('moment-tabs').append(tab);
  });
  const picture = (id, ...caption) => make('figure', {},
    make('div', { class: 'frame', id }), make('figcaption', {}, ...caption));
  const stage = make('div', { class: 'stage' },
    picture('view-camera', DATA.captions.camera), picture('view-wanted', DATA.captions.wanted),
    ...DATA.policies.map((policy, place) =>
      picture(`view-arm-${place}`, swatch(place), `${policy.name}: ${DATA.captions.arm}`)));
  const play = make('button', { type: 'button', id: 'play' }, 'Play');
  const slider = make('input', { type: 'range', min: 0, value: 0, id: 'scrub', 'aria-label': 'Frame' });
  const control = make('div', {},
    make('div', { class: 'scrub' }, play, slider, make('output', { id: 'film-time' })),
    make('div', { class: 'strip', id: 'strip' }), make('div', { class: 'said', id: 'film-words' }));
  const side = make('div', { class: 'side' }, make('h3', {}, 'Error in this frame, by joint'),
    make('div', { class: 'plot', id: 'plot-now' }));
  byId('film').append(stage, control, side);
  slider.addEventListener('input', () => { stop(); showFrame(Number(slider.value)); });
  play.addEventListener('click', () => {
    if (film.timer) { stop(); return; }
    play.textContent = 'Pause';
    film.timer = setInterval(() =>
      showFrame((film.frame + 1) % DATA.moments[film.moment].frames.length), 180);
  });
  drawn.now = plot(byId('plot-now'), DATA.joints.length * nowRow() + 4,
    'Error of each joint in this frame', drawNow);
  chooseMoment(0);
}

function stop() {
  clearInterval(film.timer);
  film.timer = null;
  byId('play').textContent = 'Play';
}

function chooseMoment(place) {
  stop();
  film.moment = place;
  const moment = DATA.moments[place];
  byId('scrub').max = moment.frames.length - 1;
  [...byId('moment-tabs').children].forEach((tab, i) => tab.setAttribute('aria-pressed', i === place));
  byId('strip').replaceChildren(...moment.frames.map((frame, i) => {
    const button = make('button', { type: 'button', title: `${frame.time_s.toFixed(2)} s`,
      'aria-label': `${frame.time_s.toFixed(2)} s` });
    if (frame.camera !== null) button.append(make('img', { src: DATA.pictures[frame.camera], alt: '' }));
    button.addEventListener('click', () => { stop(); showFrame(i); });
    return button;
  }));
  showFrame(moment.worst);
}

function showFrame(place) {
  film.frame = place;
  const frame = DATA.moments[film.moment].frames[place];
  show('view-camera', frame.camera, 'no picture', frame);
  show('view-wanted', frame.wanted, DATA.captions.no_wanted);
  frame.arms.forEach((arm, policy) => show(`view-arm-${policy}`, arm, DATA.captions.no_arm));
  byId('scrub').value = place;
  byId('film-time').textContent = `${frame.time_s.toFixed(2)} s`;
  const lines = frame.words.flatMap((text, policy) => (text ? [make('p', {}, swatch(policy),
    make('b', {}, `${DATA.policies[policy].name}: `), text)] : []));
  if (!frame.tracked) lines.unshift(make('p', { class: 'lost' }, 'No hand was seen in this frame.'));
  byId('film-words').replaceChildren(...lines);
  [...byId('strip').children].forEach((button, i) => button.setAttribute('aria-pressed', i === place));
  drawn.now();
}

function show(id, picture, instead, frame = null) {
  const box = byId(id);
  box.replaceChildren();
  if (picture === null) { box.append(make('div', { class: 'empty' }, instead)); return; }
  box.append(make('img', { src: DATA.pictures[picture], alt: '' }));
  if (!frame) return;
  if (!frame.tracked) box.append(make('span', { class: 'badge' }, DATA.captions.lost));
  if (!frame.points) return;
  const [width, height] = frame.size;
  const svg = shape(box, 'svg', { viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' });
  for (const [from, to] of DATA.bones) {
    const [a, b] = [frame.points[from], frame.points[to]];
    shape(svg, 'line', { x1: a[0], y1: a[1], x2: b[0], y2: b[1], class: 'bone' });
  }
  for (const [x, y] of frame.points) shape(svg, 'circle', { cx: x, cy: y, r: width / 180, class: 'knuckle' });
}

function nowRow() { return 11 + Math.max(8, DATA.policies.length * 6); }

function drawNow(svg, width) {
  const moment = DATA.moments[film.moment], frame = moment.frames[film.frame];
  const left = 108, right = 40, wide = Math.max(width - left - right, 1), row = nowRow();
  const most = Math.max(moment.largest_deg, 5), policies = DATA.policies.length;
  const bar = Math.min(Math.floor((row - 7) / policies), 12);
  DATA.joints.forEach((joint, place) => {
    const top = place * row + 3, middle = top + (row - 7) / 2 + 5;
    const values = frame.error_deg.map((errors) => (errors ? errors[place] : null));
    shape(svg, 'text', { x: 0, y: middle }, words(joint));
    shape(svg, 'rect', { x: left, y: top, width: wide, height: row - 6, rx: 3, fill: 'var(--wash)' });
    values.forEach((value, policy) => {
      if (value === null) return;
      shape(svg, 'rect', { x: left, y: top + ((row - 6) - bar * policies) / 2 + policy * bar,
        width: Math.min(Math.abs(value) / most, 1) * wide, height: bar - 1, rx: 2, fill: colour(policy) });
    });
    const largest = values.reduce((a, b) => (b !== null && (a === null || Math.abs(b) > Math.abs(a)) ? b : a), null);
    shape(svg, 'text', { x: width, y: middle, 'text-anchor': 'end' },
      largest === null ? '–' : `${largest > 0 ? '+' : ''}${number(largest, 0)}°`);
    const cover = shape(svg, 'rect', { x: 0, y: top, width, height: row, fill: 'transparent' });
    hover(cover, () => `${words(joint)}\n` + values.map((value, policy) =>
      `${DATA.policies[policy].name}: ${value > 0 ? '+' : ''}${number(value, 1)}°`).join('\n'));
  });
}

// ---- over time

const view = { bag: 0, joint: -1 };

function drawTime() {
  legend(byId('time-legend'));
  byId('bag').append(...DATA.courses.map((course, i) => make('option', { value: i }, course.name)));
  byId('bag-control').hidden = DATA.courses.length < 2;
  byId('joint').append(make('option', { value: -1 }, 'mean of all'),
    ...DATA.joints.map((joint, i) => make('option', { value: i }, words(joint))));
  byId('time-lead').textContent = DATA.time_lead;
  drawn.time = plot(byId('plot-time'), 240, 'Error over time', drawCourse);
  drawn.heat = drawHeat();
  drawn.timeline = plot(byId('plot-timeline'), () => DATA.courses[view.bag].rows.length * 30 + 28,
    'Holds and dropouts over time', drawTimeline);
  byId('bag').addEventListener('change', (event) => {
    view.bag = Number(event.target.value);
    drawn.time(); drawn.heat = drawHeat(); drawn.timeline();
  });
  byId('joint').addEventListener('change', (event) => { view.joint = Number(event.target.value); drawn.time(); });
}

function valuesOf(run) { return view.joint < 0 ? run.mean : run.joints[view.joint]; }

function drawCourse(svg, width, height) {
  const course = DATA.courses[view.bag], left = 40, bottom = height - 24, top = 8;
  const most = Math.max(1, ...course.runs.flatMap((run) => valuesOf(run).filter((v) => v !== null)));
  const marks = ticks(0, most, 5), end = course.duration_s;
  const highest = Math.max(most, marks.values[marks.values.length - 1]);
  const x = (value) => left + (value / end) * (width - left - 6);
  const y = (value) => bottom - (value / highest) * (bottom - top);
  timeAxis(svg, x, bottom, top, end, width);
  for (const value of marks.values) {
    shape(svg, 'line', { x1: left, x2: width - 6, y1: y(value), y2: y(value), class: value ? 'grid' : 'axis' });
    shape(svg, 'text', { x: left - 7, y: y(value) + 4, 'text-anchor': 'end' }, `${value.toFixed(marks.digits)}°`);
  }
  const xs = course.time_s.map(x);
  for (const [from, to] of course.dropouts) {
    shape(svg, 'rect', { x: x(from), y: top, width: Math.max(x(to) - x(from), 1), height: bottom - top, fill: 'var(--bad)', opacity: .1 });
  }
  course.runs.forEach((run) => {
    shape(svg, 'path', { d: path(xs, valuesOf(run).map((v) => (v === null ? null : y(v)))), fill: 'none',
      stroke: colour(run.policy), 'stroke-width': 1.8, 'stroke-linejoin': 'round' });
  });
  const ruler = shape(svg, 'line', { y1: top, y2: bottom, stroke: 'var(--faint)', 'stroke-dasharray': '3 3', visibility: 'hidden' });
  const area = shape(svg, 'rect', { x: left, y: top, width: Math.max(width - left - 6, 1), height: bottom - top, fill: 'transparent' });
  hover(area, (event) => {
    const place = nearest(course, event, area);
    ruler.setAttribute('x1', xs[place]);
    ruler.setAttribute('x2', xs[place]);
    ruler.setAttribute('visibility', 'visible');
    return `${course.time_s[place].toFixed(1)} s\n` + course.runs.map((run) =>
      `${DATA.policies[run.policy].name}: ${number(valuesOf(run)[place], 1)}°`).join('\n');
  });
  area.addEventListener('pointerleave', () => ruler.setAttribute('visibility', 'hidden'));
}

function nearest(course, event, area) {
  const box = area.getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  return Math.min(Math.max(Math.round(share * (course.time_s.length - 1)), 0), course.time_s.length - 1);
}

function drawHeat() {
  const course = DATA.courses[view.bag], box = byId('plot-heat');
  box.replaceChildren();
  byId('heat-title').hidden = !DATA.judged;
  if (!DATA.judged) return () => {};
  const most = DATA.heat_most_deg;
  for (const run of course.runs) {
    const policy = DATA.policies[run.policy];
    box.append(make('p', { class: 'heat-title' }, swatch(run.policy), policy.name));
    const area = make('div', { class: 'plot heat' });
    box.append(area);
    const rows = DATA.joints.length;
    plot(area, rows * 15 + 22, `Error of every joint over time, ${policy.name}`, (svg, width) => {
      const left = 112, right = 6, wide = width - left - right, number_ = course.time_s.length;
      const each = wide / number_;
      DATA.joints.forEach((joint, row) => {
        shape(svg, 'text', { x: left - 8, y: row * 15 + 11, 'text-anchor': 'end' }, words(joint));
        shape(svg, 'rect', { x: left, y: row * 15, width: wide, height: 14, fill: 'var(--wash)' });
        run.joints[row].forEach((value, place) => {
          if (value === null) return;
          const cell = shape(svg, 'rect', { x: (left + place * each).toFixed(2), y: row * 15, width: (each + .4).toFixed(2), height: 14 });
          cell.style.fill = `rgba(var(--heat), ${Math.min(value / most, 1).toFixed(2)})`;
        });
      });
      const marks = ticks(0, course.duration_s, Math.min(12, width / 75));
      marks.values.forEach((value, i) => shape(svg, 'text', {
        x: left + (value / course.duration_s) * wide, y: rows * 15 + 15, 'text-anchor': 'middle' },
      `${value.toFixed(marks.digits)}${i === marks.values.length - 1 ? ' s' : ''}`));
      const cover = shape(svg, 'rect', { x: left, y: 0, width: Math.max(wide, 1), height: rows * 15, fill: 'transparent' });
      hover(cover, (event) => {
        const place = nearest(course, event, cover), bounds = cover.getBoundingClientRect();
        const row = Math.min(Math.max(Math.floor((event.clientY - bounds.top) / bounds.height * rows), 0), rows - 1);
        return `${words(DATA.joints[row])}, ${course.time_s[place].toFixed(1)} s\n${number(run.joints[row][place], 1)}°`;
      });
    });
  }
  box.append(make('div', { class: 'scale' }, '0°', make('i'), `${number(most, 0)}° and more`));
  return () => {};
}

function drawTimeline(svg, width, height) {
  const course = DATA.courses[view.bag], narrow = width < 560, left = narrow ? 92 : 130;
  const bottom = height - 24, end = course.duration_s;
  const x = (value) => left + (value / end) * (width - left - 6);
  timeAxis(svg, x, bottom, 2, end, width);
  course.rows.forEach((row, place) => {
    const y = place * 30 + 4;
    shape(svg, 'text', { x: 0, y: y + 15, class: 'strong' }, row.label);
    shape(svg, 'rect', { x: left, y, width: Math.max(width - left - 6, 1), height: 20, rx: 4, fill: 'var(--wash)' });
    for (const [from, to, text] of row.spans) {
      const span = shape(svg, 'rect', { x: x(from), y, width: Math.max(x(to) - x(from), 2.5), height: 20, rx: 2,
        fill: row.policy === null ? 'var(--bad)' : colour(row.policy) });
      hover(span, () => `${text}\n${from.toFixed(2)} to ${to.toFixed(2)} s (${(to - from).toFixed(2)} s)`);
    }
  });
  DATA.moments.forEach((moment, place) => {
    if (moment.bag !== view.bag) return;
    const row = course.rows.findIndex((r) => r.policy === moment.policy);
    const at = x(moment.time_s), y = row * 30 + 8;
    const mark = shape(svg, 'path', { d: `M${at} ${y}l7 12h-14z`, fill: colour(moment.policy),
      stroke: 'var(--card)', 'stroke-width': 1.5, cursor: 'pointer' });
    mark.addEventListener('click', () => {
      chooseMoment(place);
      byId('moments').scrollIntoView({ behavior: 'smooth' });
    });
    hover(mark, () => `worst moment, ${moment.title}\n${moment.why}`);
  });
}

// ---- spread and latency

function drawSpread() {
  if (!DATA.judged) { byId('spread').remove(); return; }
  legend(byId('spread-legend'));
  const each = 11, gap = 14, rowHeight = DATA.policies.length * each + gap;
  const rows = DATA.spread;
  plot(byId('plot-spread'), rows.length * rowHeight + 28, 'Distribution of the error of each joint', (svg, width, height) => {
    const left = 108, bottom = height - 26;
    const most = Math.max(1, ...rows.flatMap((row) => row.boxes.flatMap((box) => (box ? [box[4]] : []))));
    const marks = ticks(0, most, Math.min(8, width / 90));
    const x = (value) => left + (value / most) * (width - left - 16);
    for (const value of marks.values) {
      shape(svg, 'line', { x1: x(value), x2: x(value), y1: 0, y2: bottom, class: value ? 'grid' : 'axis' });
      shape(svg, 'text', { x: x(value), y: bottom + 18, 'text-anchor': 'middle' }, `${value.toFixed(marks.digits)}°`);
    }
    rows.forEach((row, place) => {
      const top = place * rowHeight + 5;
      shape(svg, 'text', { x: left - 10, y: top + (DATA.policies.length * each) / 2 + 4, 'text-anchor': 'end' }, words(row.joint));
      row.boxes.forEach((box, policy) => {
        if (!box) return;
        const y = top + policy * each + each / 2, [p5, p25, p50, p75, p95] = box;
        shape(svg, 'line', { x1: x(p5), x2: x(p95), y1: y, y2: y, stroke: colour(policy), 'stroke-width': 1.4, opacity: .7 });
        shape(svg, 'rect', { x: x(p25), y: y - 4, width: Math.max(x(p75) - x(p25), 1), height: 8, rx: 2, fill: colour(policy), opacity: .85 });
        shape(svg, 'line', { x1: x(p50), x2: x(p50), y1: y - 4, y2: y + 4, stroke: 'var(--card)', 'stroke-width': 2 });
        const cover = shape(svg, 'rect', { x: left, y: y - each / 2, width: width - left, height: each, fill: 'transparent' });
        hover(cover, () => `${words(row.joint)}, ${DATA.policies[policy].name}\nmedian ${number(p50, 1)}°\n`
          + `middle half ${number(p25, 1)} to ${number(p75, 1)}°\n5% to 95%: ${number(p5, 1)} to ${number(p95, 1)}°`);
      });
    });
  });
}

function drawLatency() {
  byId('latency-lead').textContent = DATA.latency.lead;
  const rows = DATA.latency.stages;
  if (!rows.length) { byId('plot-latency').remove(); return; }
  plot(byId('plot-latency'), rows.length * 46 + 26, 'Latency by stage', (svg, width, height) => {
    const left = 92, bottom = height - 24, most = Math.max(...rows.map((row) => row.p99));
    const x = (value) => left + (value / most) * (width - left - 56);
    const marks = ticks(0, most, Math.min(6, width / 90));
    for (const value of marks.values) {
      shape(svg, 'line', { x1: x(value), x2: x(value), y1: 0, y2: bottom, class: value ? 'grid' : 'axis' });
      shape(svg, 'text', { x: x(value), y: bottom + 17, 'text-anchor': 'middle' }, value.toFixed(marks.digits));
    }
    shape(svg, 'text', { x: width, y: bottom + 17, 'text-anchor': 'end' }, 'ms');
    rows.forEach((row, place) => {
      const y = place * 46 + 12;
      shape(svg, 'text', { x: 0, y: y + 14, class: 'strong' }, words(row.stage));
      for (const [key, opacity] of [['p99', .22], ['p95', .42], ['p50', 1]]) {
        shape(svg, 'rect', { x: left, y, width: Math.max(x(row[key]) - left, 1), height: 20, rx: 3, fill: 'var(--p0)', opacity });
      }
      shape(svg, 'text', { x: x(row.p99) + 6, y: y + 14 }, number(row.p95, 1));
      const cover = shape(svg, 'rect', { x: 0, y: y - 8, width, height: 40, fill: 'transparent' });
      hover(cover, () => `${words(row.stage)}\nhalf within ${number(row.p50, 1)} ms\n95% within ${number(row.p95, 1)} ms\n99% within ${number(row.p99, 1)} ms`);
    });
  });
}

drawTop();
drawTable();
drawMoments();
drawTime();
drawSpread();
drawLatency();
document.documentElement.dataset.ready = 'true';
