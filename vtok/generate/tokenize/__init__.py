"""Data sets of pictures to shards of token strings, shard by shard, so that a stopped or shared-out work goes on."""
