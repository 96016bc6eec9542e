"""`leanformer bench`: measures mechanisms and peers on this machine; the results are ratios within a round."""
