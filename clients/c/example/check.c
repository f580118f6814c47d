/* check PLACE ADDRESS: says what is to be done with an address; ends with 0 if it passes. */
#define TESTUDO_GATE_IMPLEMENTATION
#include "testudo_gate.h"

int main(int count, char **words) {
    char error[128];
    if (count != 3) {
        fprintf(stderr, "check PLACE ADDRESS\n");
        return 2;
    }
    struct testudo_gate_options options = {.place = words[1], .fail = TESTUDO_GATE_FAIL_CLOSED};
    struct testudo_gate *gate = testudo_gate_new(&options, error, sizeof error);
    if (!gate) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    struct testudo_gate_question question = {.address = words[2]};
    struct testudo_gate_verdict verdict;
    int code = testudo_gate_check(gate, &question, &verdict);
    if (code != 0) fprintf(stderr, "%s is no address\n", words[2]);
    else printf("%s: %s\n", testudo_gate_action_name(verdict.action), *verdict.failure ? verdict.failure : verdict.outcome);
    testudo_gate_free(gate);
    return code != 0 ? 2 : verdict.passes ? 0 : 1;
}
