"""The networks: retrieval, synthesis and the critics that train them."""
