//! What is done with a data directory without a network: training tables, exports, decisions in bulk.
