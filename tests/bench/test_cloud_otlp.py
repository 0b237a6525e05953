"""The benchmark of OTLP sends the same records both ways, and ours cost less."""

from bench.cloud_otlp import FRAMES, measure


async def test_records_cost_less_than_with_the_sdk(socket_enabled: None) -> None:
    [row] = await measure(1)
    assert row["messages"] == FRAMES
    assert row["ratio"] > 1
    assert row["cpu_ratio"] > 1
