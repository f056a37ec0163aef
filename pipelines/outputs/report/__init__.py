"""The page that a person looks at to trust captions: `beamscribe report`.

`survey` counts an output's rows, `gallery` chooses the images to show, `pictures`, `attention`, `sound` and
`references` bring what a card shows, `page` renders it all as one file, and `command` is the subcommand.
"""
