"""Each cloud's wire, held to its documentation by a local cloud and the cloud's own library."""
