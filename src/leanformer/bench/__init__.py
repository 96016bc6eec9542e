"""`leanformer bench`: mechanisms and peers side by side on this machine; ratios within a round are the result."""
