window.dash_clientside = Object.assign({}, window.dash_clientside, {
  studio: {
    // The lists are of one revision, the picture of another.
    busy: function (listed, drawn, refusal) {
      return listed > drawn && !refusal ? "Drawing …" : "";
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
