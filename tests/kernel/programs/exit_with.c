/* Ends with a status by which its caller knows which of two programs ran, with which argument: STATUS, one more for `b`,
   two for something that is neither. */
int main(int count, char **words)
{
    if (count != 2 || words[1][1])
        return STATUS + 2;
    return words[1][0] == 'a' ? STATUS : words[1][0] == 'b' ? STATUS + 1 : STATUS + 2;
}
