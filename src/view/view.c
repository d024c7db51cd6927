#include "postgres.h"
#include "view/view.h"
void braid_view_init(void)
{
}
