// weir: hands the command line its server half.
#include "node/cli.h"
#include "node/serve.h"
#include "query/pool.h"

int main(int argc, char** argv) {
    return weir::node::run_cli(argc, argv, weir::node::serve, weir::query::worker_main);
}
