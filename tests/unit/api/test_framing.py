from sampan.api.framing import content_type, header


def test_a_frame_begins_with_stream_and_length() -> None:
    assert header(2, 0x01020304) == b"\x02\x00\x00\x00\x01\x02\x03\x04"


def test_multiplexed_streams_are_named_so_since_1_42() -> None:
    assert content_type((1, 41), multiplexed=True) == "application/vnd.docker.raw-stream"
    assert content_type((1, 42), multiplexed=True) == "application/vnd.docker.multiplexed-stream"
    assert content_type((1, 42), multiplexed=False) == "application/vnd.docker.raw-stream"
