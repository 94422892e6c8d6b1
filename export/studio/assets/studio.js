// The address follows the scene, so that it can be copied, kept and reloaded.
window.dash_clientside = Object.assign({}, window.dash_clientside, {
  studio: {
    link: function (hash) {
      if (!hash) {
        return window.dash_clientside.no_update;
      }
      window.history.replaceState(null, "", hash);
      return hash;
    },
  },
});
