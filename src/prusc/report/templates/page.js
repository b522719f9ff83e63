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

  if (data.map) drawMap(data.map);

  function drawMap(map) {
    const chart = document.getElementById("chart-map");
    const detail = document.getElementById("map-detail");
    const canvas = detail.querySelector("canvas");
    const symbols = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon"];
    const tilesPerSheet = 500, columns = 25;
    const sheets = map.sheets.map(address => {
      if (!address) return null;
      const image = new Image();
      image.src = address;
      return image;
    });
    const clusters = map.colourings.find(colouring => colouring.name === "cluster");
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
      drawTile(id);
    }

    function drawTile(id) {
      const sheet = sheets[Math.floor(id / tilesPerSheet)], place = id % tilesPerSheet;
      const {width, height} = map.tile;
      const ready = sheet && sheet.complete && sheet.naturalWidth > 0;
      const hint = detail.querySelector(".hint");
      canvas.hidden = !ready;
      hint.hidden = ready;
      hint.textContent = map.no_pictures || "The picture is missing.";
      if (!ready) return;
      const brush = canvas.getContext("2d");
      const scale = Math.min(canvas.width / width, canvas.height / height);
      brush.imageSmoothingEnabled = Math.max(width, height) > 32;
      brush.clearRect(0, 0, canvas.width, canvas.height);
      brush.drawImage(
        sheet, width * (place % columns), height * Math.floor(place / columns), width, height,
        (canvas.width - width * scale) / 2, (canvas.height - height * scale) / 2, width * scale, height * scale,
      );
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
})();
