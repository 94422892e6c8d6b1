window.dash_clientside = Object.assign({}, window.dash_clientside, {
  studio: {
    // The lists are of one revision, the picture of another.
    busy_listed: function (listed, drawn) {
      return listed > drawn ? "Drawing …" : "";
    },
    busy_drawn: function (drawn, listed) {
      return listed > drawn ? "Drawing …" : "";
    },
    refused: function (sentence) {
      return sentence ? "" : window.dash_clientside.no_update;
    },
    // The address follows the scene, so that it can be copied, kept and reloaded.
    link: function (hash) {
      if (!hash) {
        return window.dash_clientside.no_update;
      }
      window.history.replaceState(null, "", hash);
      return hash;
    },
  },
});
