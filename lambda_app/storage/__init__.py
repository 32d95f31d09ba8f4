"""Where the bytes are: the object store, the keys of its objects, and the headers that go with them."""
