"""What leanformer writes down and reads again: JSON files, each kind with a schema that is checked at every reading.

reading      from a file to a checked record, or one line that says what is wrong with it
renamed      settings that have another name, old or of transformers
run          run.json, curve.jsonl, predictions.jsonl: of pre-training, fine-tuning, linking and generation
checkpoint   state.json
studies      comparison.json and the records of other studies
data         data.json
models       conversion.json and the index of weights in several files
"""
