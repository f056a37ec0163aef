"""What a caption job carries to its workers in place of a captioner: how to load it there."""
