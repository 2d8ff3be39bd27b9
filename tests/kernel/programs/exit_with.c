/* Ends with a status by which its caller knows which of two programs ran. */
int main(void)
{
    return STATUS;
}
