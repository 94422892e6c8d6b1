"""How good pictures, layouts, objects and retrieval are: metrics, each checked against an independent reference."""
