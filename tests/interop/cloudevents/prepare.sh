# The CloudEvents SDK for JavaScript, from npm.
command -v node >/dev/null && command -v npm >/dev/null || { echo "node and npm are not installed"; exit 77; }
timeout 180 npm install --no-audit --no-fund --silent || { echo "npm cannot fetch the package cloudevents"; exit 77; }
