// Draws the charts, sorts the tables and runs the map. Everything comes from the page's own data.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const options = {displaylogo: false, responsive: true, displayModeBar: false};

  for (const [id, figure] of Object.entries(data.charts)) {
    Plotly.newPlot(id, figure.data, figure.layout, options);
  }
  // A chart inside closed details has no width when it is drawn, so it is resized when they open.
  document.addEventListener("toggle", event => {
    for (const chart of event.target.querySelectorAll(".js-plotly-plot")) Plotly.Plots.resize(chart);
  }, true);

  const sortKey = cell => cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);

  function sortBy(heading) {
    const column = heading.cellIndex;
    const body = heading.closest("table").tBodies[0];
    const numbers = heading.classList.contains("number");
    const was = heading.getAttribute("aria-sort");
    const ascending = was ? was === "descending" : !numbers;
    const sign = ascending ? 1 : -1;
    const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    const rows = [...body.rows].sort((a, b) => sign * compare(sortKey(a.cells[column]), sortKey(b.cells[column])));
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    body.append(...rows);
  }
  for (const button of document.querySelectorAll("table.sortable th button")) {
    button.addEventListener("click", () => sortBy(button.parentElement));
  }

  const tilesPerSheet = 500, columnsPerSheet = 25;

  function loadSheets(addresses) {
    return addresses.map(address => {
      if (!address) return null;
      const image = new Image();
      image.src = address;
      return image;
    });
  }

  // Draws the picture at a position of the sheets; returns whether there is one.
  function drawTile(canvas, sheets, tile, id) {
    const sheet = sheets[Math.floor(id / tilesPerSheet)], place = id % tilesPerSheet;
    const {width, height} = tile;
    if (!sheet || !sheet.complete || !(sheet.naturalWidth > 0)) return false;
    const brush = canvas.getContext("2d");
    const scale = Math.min(canvas.width / width, canvas.height / height);
    brush.imageSmoothingEnabled = Math.max(width, height) > 32;
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(
      sheet, width * (place % columnsPerSheet), height * Math.floor(place / columnsPerSheet), width, height,
      (canvas.width - width * scale) / 2, (canvas.height - height * scale) / 2, width * scale, height * scale,
    );
    return true;
  }

  const sheets = loadSheets(data.map ? data.map.sheets : data.gallery ? data.gallery.sheets : []);
  if (data.map) drawMap(data.map);
  if (data.gallery && document.getElementById("gallery")) drawGallery(data.gallery);

  function drawMap(map) {
    const chart = document.getElementById("chart-map");
    const detail = document.getElementById("map-detail");
    const canvas = detail.querySelector("canvas");
    const symbols = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon"];
    const clusters = map.colourings[1];
    let network = "before", colouring = clusters, cluster = -1;

    // Plotly reads names as a kind of HTML.
    function plain(name) {
      const short = name.length > 30 ? name.slice(0, 29) + "…" : name;
      return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\s+/g, " ");
    }

    function traces() {
      const codes = colouring[network], [x, y] = map.points[network];
      return colouring.values.map((name, value) => {
        const ids = [];
        codes.forEach((code, id) => {
          if (code === value && (cluster < 0 || clusters.before[id] === cluster)) ids.push(id);
        });
        return {
          type: "scatter", mode: "markers", name: plain(name), hoverinfo: "none", customdata: ids,
          x: ids.map(id => x[id]), y: ids.map(id => y[id]), showlegend: ids.length > 0,
          // The symbols shift when the colours repeat, so that all of 64 values look different.
          marker: {size: 6, opacity: 0.75, color: map.palette[value % map.palette.length], symbol: symbols[(value + Math.floor(value / 8)) % 8]},
        };
      });
    }

    function layout() {
      const axis = title => ({title: {text: title}, zeroline: false, showticklabels: false, automargin: true});
      // A finger that scrolls the page must not draw a box.
      const touch = matchMedia("(pointer: coarse)").matches;
      return {
        template: "none", height: 560, margin: {l: 30, r: 40, t: 8, b: 40}, paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)", font: {family: "system-ui, sans-serif", size: 13}, hovermode: "closest",
        modebar: {orientation: "v"}, hoverdistance: 12, dragmode: touch ? false : "zoom", uirevision: network,
        xaxis: axis(map.axes[network][0]), yaxis: axis(map.axes[network][1]),
        legend: {orientation: "h", x: 0, y: 1.0, xanchor: "left", yanchor: "bottom", itemsizing: "constant"},
      };
    }

    function redraw() {
      Plotly.react(chart, traces(), layout(), {
        displaylogo: false, responsive: true, displayModeBar: true,
        modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
      });
    }

    function show(id) {
      const rows = [["sample", map.ids[id]]];
      for (const item of map.colourings) {
        const before = item.values[item.before[id]], after = item.values[item.after[id]];
        if (item.before === item.after || item.name !== "prediction") {
          if (item.name !== "right or wrong") rows.push([item.name, before]);
        } else if (!map.points.after) {
          rows.push(["prediction", before]);
        } else {
          rows.push(["ERM network", before], ["chosen network", after]);
        }
      }
      const list = detail.querySelector("dl");
      list.replaceChildren(...rows.flatMap(([name, value]) => {
        const term = document.createElement("dt"), text = document.createElement("dd");
        term.textContent = name;
        text.textContent = value;
        text.dir = "auto";
        return [term, text];
      }));
      list.hidden = false;
      drawDetail(id);
    }

    function drawDetail(id) {
      const ready = drawTile(canvas, sheets, map.tile, id), hint = detail.querySelector(".hint");
      canvas.hidden = !ready;
      hint.hidden = ready;
      hint.textContent = map.no_pictures || "The picture is missing.";
    }

    redraw();
    chart.on("plotly_hover", event => show(event.points[0].customdata));
    chart.on("plotly_click", event => show(event.points[0].customdata));
    for (const radio of document.querySelectorAll("input[name=map-network]")) {
      radio.addEventListener("change", () => { network = radio.value; redraw(); });
    }
    document.getElementById("map-colour").addEventListener("change", event => {
      colouring = map.colourings[Number(event.target.value)];
      redraw();
    });
    document.getElementById("map-cluster").addEventListener("change", event => {
      cluster = Number(event.target.value);
      redraw();
    });
  }

  // The list of all errors: filtered, ordered, selected and tagged on this page alone.
  function drawGallery(errors) {
    const list = document.getElementById("gallery"), more = document.getElementById("gallery-more");
    const filters = document.getElementById("gallery-filters"), actions = document.getElementById("gallery-selection");
    const counter = document.getElementById("gallery-count"), pageSize = 60;
    const hasAfter = errors.predictions.length > 1, suspects = new Set(errors.suspects);
    const selected = new Set(), tags = new Map();
    let found = [], numShown = 0;

    const right = (id, network) => errors.predictions[network][id] === errors.label[id];
    const percent = share => share < 0 ? "" : ` ${(100 * share).toFixed(0)}\u00a0%`;
    const confidence = id => Math.max(...errors.confidence.map((shares, network) => right(id, network) ? -1 : shares[id]));

    const tests = {
      label: (id, value) => errors.label[id] === Number(value),
      before: (id, value) => errors.predictions[0][id] === Number(value),
      after: (id, value) => errors.predictions[1][id] === Number(value),
      change: (id, value) => (right(id, 0) ? "0" : "1") + (right(id, 1) ? "0" : "1") === value,
      cluster: (id, value) => value === "suspect" ? suspects.has(errors.cluster[id]) : errors.cluster[id] === Number(value),
      kind: (id, value) => errors.kind[id] === value,
    };
    const orders = {
      high: (a, b) => confidence(b) - confidence(a),
      low: (a, b) => confidence(a) - confidence(b),
      cluster: (a, b) => errors.cluster[a] - errors.cluster[b] || confidence(b) - confidence(a),
    };

    function filter() {
      const chosen = [...filters.querySelectorAll("select")].filter(select => select.value !== "" && tests[select.name]);
      found = errors.ids.map((_, id) => id).filter(id => chosen.every(select => tests[select.name](id, select.value)));
      found.sort(orders[filters.querySelector("[name=order]").value]);
      numShown = 0;
      list.replaceChildren();
      show();
    }

    function show() {
      const next = found.slice(numShown, numShown + pageSize);
      list.append(...next.map(card));
      numShown += next.length;
      more.hidden = numShown >= found.length;
      count();
    }

    function count() {
      counter.textContent = `${found.length} of ${errors.ids.length} errors, ${selected.size} selected, ${tags.size} tagged`;
    }

    function line(text, name, kind) {
      const paragraph = document.createElement("p"), isolated = document.createElement("bdi");
      isolated.textContent = name;
      isolated.className = "name";
      paragraph.className = kind;
      paragraph.append(text, isolated);
      return paragraph;
    }

    function card(id) {
      const item = document.createElement("li"), label = document.createElement("label"), box = document.createElement("input");
      item.className = "portrait";
      item.title = errors.ids[id];
      item.dataset.id = id;
      box.type = "checkbox";
      box.checked = selected.has(id);
      box.setAttribute("aria-label", `select ${errors.ids[id]}`);
      box.addEventListener("change", () => { box.checked ? selected.add(id) : selected.delete(id); count(); });
      label.append(box, " ", picture(id));
      item.append(label, line("", errors.classes[errors.label[id]], "label"));
      errors.predictions.forEach((predictions, network) => {
        const isRight = right(id, network);
        const told = line(isRight ? "✓ " : "✗ ", errors.classes[predictions[id]], isRight ? "right" : "wrong");
        told.append(percent(errors.confidence[network][id]));
        item.append(told);
      });
      const kind = errors.kind ? errors.kind[id] : "";
      if (kind === "mislabelled") {
        const told = line("label? ", errors.classes[errors.suggested[id]], "kind");
        told.append(percent(errors.sureness[id]));
        item.append(told);
      } else if (kind === "shortcut") {
        item.append(line("", errors.kinds[kind], "kind"));
      }
      if (tags.has(id)) item.append(line("# ", tags.get(id), "tag"));
      return item;
    }

    function picture(id) {
      const canvas = document.createElement("canvas"), place = errors.picture[id];
      canvas.width = canvas.height = 76;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `sample ${errors.ids[id]}, class ${errors.classes[errors.label[id]]}`);
      const sheet = place < 0 ? null : sheets[Math.floor(place / tilesPerSheet)];
      if (sheet && !drawTile(canvas, sheets, errors.tile, place)) {
        sheet.addEventListener("load", () => drawTile(canvas, sheets, errors.tile, place), {once: true});
      }
      if (sheet) return canvas;
      const gap = document.createElement("span");
      gap.className = "gap";
      gap.textContent = "no picture";
      return gap;
    }

    function redraw() {
      for (const item of [...list.children]) item.replaceWith(card(Number(item.dataset.id)));
      count();
    }

    function save() {
      const quote = value => `"${String(value).replace(/"/g, '""')}"`;
      const ids = selected.size ? [...selected] : tags.size ? [...tags.keys()] : found;
      const names = ["sample_id", "class", "prediction", "confidence"];
      if (hasAfter) names.push("prediction_after", "confidence_after");
      names.push("cluster", "is_suspect");
      if (errors.kind) names.push("kind", "suggested_class", "suggested_confidence");
      const rows = [...ids].sort((a, b) => a - b).map(id => {
        const row = [errors.ids[id], errors.classes[errors.label[id]]];
        errors.predictions.forEach((predictions, network) => {
          const share = errors.confidence[network][id];
          row.push(errors.classes[predictions[id]], share < 0 ? "" : share);
        });
        row.push(errors.cluster[id], suspects.has(errors.cluster[id]));
        if (errors.kind) row.push(errors.kinds[errors.kind[id]], errors.classes[errors.suggested[id]], errors.sureness[id]);
        return [...row, tags.get(id) || ""];
      });
      const text = [[...names, "tag"], ...rows].map(row => row.map(quote).join(",") + "\n").join("");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
      link.download = errors.file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }

    const todo = {
      select: () => { found.forEach(id => selected.add(id)); redraw(); },
      clear: () => { selected.clear(); redraw(); },
      tag: () => {
        const tag = actions.querySelector("input").value.trim();
        for (const id of selected) tag ? tags.set(id, tag) : tags.delete(id);
        redraw();
      },
      save,
    };
    filters.addEventListener("change", filter);
    more.addEventListener("click", show);
    for (const button of actions.querySelectorAll("button")) button.addEventListener("click", todo[button.dataset.do]);
    document.querySelectorAll(".confusion").forEach((table, network) => table.addEventListener("click", event => {
      const {label, predicted} = event.target.dataset;
      if (label === undefined) return;
      for (const select of filters.querySelectorAll("select")) if (select.name !== "order") select.value = "";
      filters.querySelector("[name=label]").value = label;
      filters.querySelector(`[name=${network ? "after" : "before"}]`).value = predicted;
      filter();
      list.scrollIntoView({block: "nearest"});
    }));
    filter();
  }
})();
