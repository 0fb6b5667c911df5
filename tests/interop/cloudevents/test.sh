exec node test.js "$1"
