"""DeBERTa, versions 1 to 3 (He et al., 2021): refused, since its scores are no product of a query and a key alone.

    logit_h(i, j) = (q_i . k_j + q_i . r_{i-j} + k_j . s_{j-i}) / sqrt(3 K),    r, s: maps of embeddings of distances

The last two terms read a token and a distance together. No mechanism of leanformer does, and a DeBERTa without them
has no other order of the words.
"""

DEBERTA = (
    "the scores of a DeBERTa add products of tokens with relative positions (content-to-position and "
    "position-to-content), which no mechanism of leanformer has; without them the model would lose the order of the "
    "words and give other outputs, so it is not converted. Convert a model of another family, such as roberta, "
    "mpnet or modernbert, or train on the labels that this model predicts"
)
